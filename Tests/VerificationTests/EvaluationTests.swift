import Dataset
import Foundation
import Tensors
import TestFiles
import Testing
import Verification

/// 600 scores from a fixed sequence; the figures they are compared with were computed by NumPy and scikit-learn.
private func referenceScores() -> PairScores {
    var state: UInt64 = 12345
    func uniform() -> Double {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Double(state >> 40) / 16_777_216
    }
    var scores = PairScores(scores: [], same: [], folds: [])
    for index in 0..<600 {
        let same = index % 2 == 0
        let (a, b) = (uniform(), uniform())
        scores.scores.append((same ? 0.35 : 0) + a * 0.5 + b * 0.5 - 0.5)
        scores.same.append(same)
        scores.folds.append(index / 60)
    }
    return scores
}

/// Images of one value each: 8 identities of 3 images.
private struct Faces: Dataset {
    var sampleCount = 24
    var classCount = 8
    var imageShape = ImageShape(channels: 1, height: 1, width: 2)
    var problems: [DatasetError] = []
    var fingerprint: UInt64 = 0
    var broken: Set<Int> = []

    func label(of index: Int) -> Int { index / 3 }
    func origin(of index: Int) -> String { "\(index)" }
    func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        if broken.contains(index) { throw DatasetError(.corruptImage, index: index, "is broken") }
        pixels[0] = UInt8(label(of: index) * 30)
        pixels[1] = 255
    }
}

/// The pixels themselves, turned by the value so that different identities point in different directions.
private func embedValues(_ images: Tensor) -> Tensor {
    let values = images.array(Float.self)
    let rows = images.shape[0]
    let result = Tensor(zeros: Float.self, shape: [rows, 2])
    for row in 0..<rows {
        let angle = (values[2 * row] + values[2 * row + 1]) * 3
        result.mutable(Float.self)[2 * row] = Foundation.cos(angle)
        result.mutable(Float.self)[2 * row + 1] = Foundation.sin(angle)
    }
    return result
}

struct EvaluationTests {
    @Test func pairsOfOneKindGiveNoFigure() {
        for same in [true, false] {
            let scores = PairScores(scores: [0.1, 0.9, 0.5], same: [same, same, same], folds: [0, 1, 2])
            #expect(scores.report(name: "odd").summary == "odd: all 3 pairs are of one kind; no figure can be given")
        }
        let mixed = PairScores(scores: [0.1, 0.9], same: [false, true], folds: [0, 1]).report(name: "even")
        #expect(mixed.samePairCount == 1)
        #expect(mixed.summary.hasPrefix("even: accuracy"))
    }

    @Test func figuresMatchNumPy() {
        let report = referenceScores().report(name: "reference")
        #expect(abs(report.accuracy - 0.77) < 1e-9)
        #expect(abs(report.accuracyDeviation - 0.04876246279442599) < 1e-9)
        #expect(abs(report.threshold - 0.18197031170129777) < 1e-9)
        #expect(report.operating.map(\.far) == [1e-2, 1e-3, 1e-4])
        for (mine, tar) in zip(report.operating, [0.34, 0.2966666666666667, 0.2966666666666667]) {
            #expect(abs(mine.tar - tar) < 1e-9)
        }
        #expect(abs(report.operating[0].threshold - 0.46497607231140137) < 1e-9)
        #expect(abs(report.auc - 0.8751444444444445) < 1e-9)
        #expect(
            report.roc.first.map { [$0.far, $0.tar] } == [0, 0] && report.roc.last.map { [$0.far, $0.tar] } == [1, 1])
        #expect(zip(report.roc, report.roc.dropFirst()).allSatisfy { $0.far <= $1.far && $0.tar <= $1.tar })
    }

    @Test func extremesOfScores() {
        let perfect = PairScores(scores: [0.9, 0.8, 0.1, 0.2], same: [true, true, false, false], folds: [0, 1, 0, 1])
            .report(name: "p")
        #expect(perfect.accuracy == 1 && perfect.auc == 1 && perfect.operating.allSatisfy { $0.tar == 1 })
        let tied = PairScores(scores: [0.5, 0.5, 0.5, 0.5], same: [true, false, true, false], folds: [0, 0, 1, 1])
            .report(name: "t")
        #expect(tied.accuracy == 0.5 && tied.auc == 0.5 && tied.operating.allSatisfy { $0.tar == 0 })
        let odd = PairScores(scores: [.nan, 1], same: [false, true], folds: [0, 1]).report(name: "n")
        #expect(odd.auc == 1)
    }

    @Test(arguments: [(1, ImageLayout.nchw, false), (5, .nhwc, false), (7, .nchw, true)])
    func embeddingsAreCompared(batchSize: Int, layout: ImageLayout, pads: Bool) throws {
        let set = try VerificationSet(heldOut: Faces(), pairsPerKind: 12, seed: 3, flips: true, folds: 4)
        var options = EvaluationOptions()
        options.batchSize = batchSize
        options.layout = layout
        options.padsLastBatch = pads
        var sizes: Set<Int> = []
        let report = try set.evaluate(options: options) { images in
            sizes.insert(images.shape[0])
            return embedValues(images)
        }
        // The threshold comes from other folds, whose different pairs may all be less alike than this fold's.
        #expect(report.auc == 1 && report.accuracy > 0.8 && report.skippedPairs == 0)
        #expect(!pads || sizes == [batchSize])
    }

    @Test func brokenImagesAreFatalOrSkipped() throws {
        var faces = Faces()
        faces.broken = [0, 1]
        let set = try VerificationSet(heldOut: faces, pairsPerKind: 12, seed: 3, flips: false, folds: 4)
        let affected = set.pairs.count { faces.broken.contains($0.first) || faces.broken.contains($0.second) }
        #expect(affected > 0)
        let error = try #require(throws: DatasetError.self) { try set.evaluate { embedValues($0) } }
        #expect(error.index == 0 || error.index == 1)
        var options = EvaluationOptions()
        options.badSamples = .skip
        #expect(try set.evaluate(options: options) { embedValues($0) }.skippedPairs == affected)
        #expect(throws: DatasetError.self) { try set.evaluate(options: options) { $0 } }
    }

    @Test func heldOutPairsAreDisjointAcrossFolds() throws {
        let set = try VerificationSet(heldOut: Faces(), pairsPerKind: 12, seed: 3, flips: true, folds: 4)
        #expect(
            set.pairs == (try VerificationSet(heldOut: Faces(), pairsPerKind: 12, seed: 3, flips: true, folds: 4)).pairs
        )
        #expect(
            set.pairs != (try VerificationSet(heldOut: Faces(), pairsPerKind: 12, seed: 4, flips: true, folds: 4)).pairs
        )
        #expect(set.pairs.count { $0.same } == 12 && set.pairs.count { !$0.same } == 12)
        var foldOfIdentity: [Int: Int] = [:]
        for pair in set.pairs {
            #expect(pair.first != pair.second && (pair.first / 3 == pair.second / 3) == pair.same)
            for identity in [pair.first / 3, pair.second / 3] {
                #expect(foldOfIdentity[identity, default: pair.fold] == pair.fold)
                foldOfIdentity[identity] = pair.fold
            }
        }
        #expect(Set(set.pairs.map { [min($0.first, $0.second), max($0.first, $0.second)] }).count == 24)
        // Only 3 same pairs exist per identity: asking for more gives what there is.
        #expect(
            try VerificationSet(heldOut: Faces(), pairsPerKind: 100, seed: 3, flips: true, folds: 4).pairs.count {
                $0.same
            } == 24)
        #expect(throws: DatasetError.self) {
            try VerificationSet(heldOut: Faces(), pairsPerKind: 12, seed: 3, flips: true)
        }
    }

    @Test func pictureIsWritten() throws {
        let folder = try TemporaryFolder()
        let path = ProcessInfo.processInfo.environment["ROC_PICTURE"] ?? folder.path + "/roc.png"
        var second = referenceScores()
        for index in second.scores.indices where second.same[index] { second.scores[index] += 0.3 }
        try ROCPlot.write([referenceScores().report(name: "reference"), second.report(name: "better")], to: path)
        let bytes = [UInt8](try #require(FileManager.default.contents(atPath: path)))
        #expect(
            try bytes.withUnsafeBytes { try ImageDecoder.shape(of: $0) }
                == ImageShape(channels: 3, height: 640, width: 900))
        #expect(throws: DatasetError.self) { try ROCPlot.write([], to: folder.path + "/nowhere/roc.png") }
    }
}
