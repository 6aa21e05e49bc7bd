import Dataset
import Foundation
import TestSupport
import Testing
import Verification

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct FigureTests {
    @Test(arguments: ["ties", "fine"]) func ratesAreThoseOfScikitLearn(name: String) throws {
        let golden = try GoldenFigures()
        let same = AdamWGolden.numbers(4000, kind: 1).map { $0 > 0.2 }
        let noise = AdamWGolden.numbers(4000, kind: name == "ties" ? 2 : 3).map(Double.init)
        let scores = noise.indices.map { index -> Float in
            name == "ties"
                ? Float(((noise[index] + (same[index] ? 0.35 : 0)) * 64).rounded(.down) / 64)
                : Float(noise[index] + (same[index] ? 0.4 : 0))
        }
        let found = AcceptRates(scores: scores, same: same)
        #expect(golden.agrees(name + ".nearest", found.rates.map(\.nearest)))
        #expect(golden.agrees(name + ".at", found.rates.map(\.nearestFAR)))
        #expect(golden.agrees(name + ".strict", found.rates.map(\.strict)))
        #expect(golden.agrees(name + ".auc", [found.auc]))
        #expect(found.text.contains("not resolved"))
    }

    @Test func pairsOfOneKindHaveNoRates() {
        let found = AcceptRates(scores: [0.1, 0.2], same: [true, true])
        #expect(found.reason?.contains("the same person") == true)
        #expect(found.rates.allSatisfy { $0.nearest == nil && $0.strict == nil })
    }

    @Test func aSearchAmongDistractorsHasTheFiguresOfNumPy() throws {
        let golden = try GoldenFigures()
        let all = GoldenFigures.features(60, kind: 41)
        let rows = (0..<60).filter { $0 % 30 < 20 }
        let gallery = rows.flatMap { all[$0 * 8..<($0 + 1) * 8] } + AdamWGolden.numbers(40 * 8, kind: 42)
        let found = try OpenSetSearch(
            gallery: TemplateFeatures(normalizing: gallery, size: 8), labels: rows.map { "\($0 % 30)" },
            probes: TemplateFeatures(normalizing: GoldenFigures.features(90, kind: 43), size: 8),
            probeLabels: (0..<90).map { "\($0 % 30)" }, threads: 2)
        let counts = [found.gallerySize, found.probes, found.leftOut].map(Double.init)
        #expect(golden.agrees("open", counts + (found.rates ?? [])))
        #expect(found.distractors == 40)
        #expect(OpenSetSearch.label(ofFile: "Probe/12_345_6.jpg") == "12")
    }

    @Test(arguments: [1, 3]) func everyPairHasTheRatesOfNumPy(threads: Int) throws {
        let golden = try GoldenFigures()
        let found = AllToAll(
            TemplateFeatures(normalizing: GoldenFigures.features(700, kind: 51), size: 8),
            labels: (0..<700).map { Int64($0 % 30) }, threads: threads, at: AcceptRates.published)
        #expect(golden.agrees("pairs.counts", [Double(found.samePairs), Double(found.differentPairs)]))
        #expect(golden.agrees("pairs.strict", found.rates.map(\.strict)))
        #expect(found.rates[0].reason == "236830 different pairs do not resolve a rate below 1/236830")
    }

    @Test func alignmentIsThatOfNumPy() throws {
        let golden = try GoldenFigures()
        let points: [Double] = [60, 81.5, 103, 70.25, 88.5, 104, 75, 133, 113, 122.5]
        let map = try #require(LandmarkAlignment.Similarity(points: points, targets: LandmarkAlignment.template))
        #expect(golden.agrees("align.matrix", [map.a, -map.b, map.b, map.a, map.tx, map.ty]))
        let shape = ImageShape(channels: 3, height: 150, width: 140)
        let pixels = (0..<shape.count).map { place -> UInt8 in
            let (y, x, c) = (place / 420, place / 3 % 140, place % 3)
            return UInt8((7 * y + 3 * x + 50 * c + x * y / 9) % 256)
        }
        var aligned = [UInt8](repeating: 1, count: 112 * 112 * 3)
        let isAligned = aligned.withUnsafeMutableBufferPointer {
            LandmarkAlignment.align(RawImage(shape: shape, pixels: pixels), landmarks: points, into: $0)
        }
        #expect(isAligned)
        let places = [(0, 0), (10, 100), (30, 30), (55, 56), (80, 41), (111, 111), (111, 0), (5, 60), (0, 111)]
        let values = places.flatMap { place in (0..<3).map { Double(aligned[(place.0 * 112 + place.1) * 3 + $0]) } }
        #expect(golden.agrees("align.pixels", values, within: 0.5 + 1e-6))
        #expect(LandmarkAlignment.Similarity(points: [5, 5, 5, 5], targets: [0, 0, 1, 1]) == nil)
    }

    @Test func pixelsAreGivenAsTheNetworkExpectsThem() {
        let shape = ImageShape(channels: 3, height: 1, width: 2)
        func apply(_ preprocessing: Preprocessing) -> [Float] {
            var target = [Float](repeating: 9, count: 6)
            let pixels: [UInt8] = [0, 127, 255, 10, 20, 30]
            pixels.withUnsafeBufferPointer { pixels in
                target.withUnsafeMutableBufferPointer { preprocessing.apply(pixels, shape: shape, into: $0) }
            }
            return target
        }
        let expected: [Float] = [128, 0, -127, -97, -107, -117]
        #expect(apply(Preprocessing(mean: 127, scale: 128, isBGR: true)) == expected.map { $0 / 128 })
        #expect(apply(Preprocessing())[0] == -1)
        #expect(Preprocessing("127.5,128,BGR") == Preprocessing(mean: 127.5, scale: 128, isBGR: true))
        for text in ["", "1", "1,0", "1,-2", "nan,1", "1,2,GBR", "1,2,RGB,4"] { #expect(Preprocessing(text) == nil) }
    }
}
