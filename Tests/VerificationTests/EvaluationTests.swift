import Dataset
import Foundation
import Tensors
import TestSupport
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
private struct Faces: ImageDataset {
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

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct EvaluationTests {
    @Test func pairsOfOneKindGiveNoFigure() {
        for same in [true, false] {
            let scores = PairScores(scores: [0.1, 0.9, 0.5], same: [same, same, same], folds: [0, 1, 2])
            let report = scores.report(name: "odd", skippedPairs: 2)
            #expect(
                report.summary.hasPrefix(
                    "odd: all 3 pairs are of \(same ? "the same identity" : "different identities")"))
            #expect(report.summary.contains("no figure") && report.summary.contains("2 skipped"))
            #expect(report.accuracy == nil && report.auc == nil && report.roc.isEmpty)
            #expect(report.operating.allSatisfy { $0.tar == nil && $0.threshold == nil && $0.reason != nil })
        }
        let mixed = PairScores(scores: [0.1, 0.9], same: [false, true], folds: [0, 1]).report(name: "even")
        #expect(mixed.samePairCount == 1)
        #expect(mixed.summary.hasPrefix("even: accuracy"))
    }

    /// What cannot be given is null in JSON, which has no infinity, with a sentence.
    @Test func jsonAlwaysWorks() throws {
        let few = PairScores(scores: [0.1, 0.9, 0.5], same: [false, true, true], folds: [0, 1, 2])
        let odd = PairScores(scores: [0.1, 0.9], same: [true, true], folds: [0, 1])
        let infinite = PairScores(
            scores: [.infinity, -.infinity, .nan], same: [true, false, false], folds: [0, 0, 0])
        let reports = [few, odd, infinite, referenceScores()].map { $0.report(name: "r") }
        let data = try JSONEncoder().encode(reports)
        #expect(try JSONDecoder().decode([VerificationReport].self, from: data) == reports)
        let objects = try #require(try JSONSerialization.jsonObject(with: data) as? [[String: Any]])
        #expect(objects[1]["accuracy"] is NSNull && objects[1]["auc"] is NSNull && objects[1]["reason"] is String)
        let rates = try #require(objects[0]["operating"] as? [[String: Any]])
        #expect(rates[0]["tar"] is NSNull && rates[0]["reason"] is String && rates[0]["threshold"] is Double)
    }

    /// A single wrong pair of 300 is a rate of 1/300: nothing can be said of lower ones.
    @Test func ratesBelowTheResolutionOfThePairsAreNotGiven() {
        let report = referenceScores().report(name: "reference")
        #expect(report.operating.map { $0.tar == nil } == [false, true, true])
        #expect(
            report.summary.contains("TAR@FAR=0.01 34.00 %  TAR@FAR=0.001 not resolved  TAR@FAR=0.0001 not resolved"))
        #expect(report.operating[1].reason?.contains("300 different pairs") == true)
        // 100 different pairs resolve 1/100.
        let scores = (0..<101).map { Double($0) }
        let enough = PairScores(
            scores: scores, same: scores.map { $0 == 100 }, folds: [Int](repeating: 0, count: 101)
        ).report(name: "e")
        #expect(enough.operating.map(\.tar) == [1, nil, nil])
    }

    @Test func figuresMatchNumPy() throws {
        let report = referenceScores().report(name: "reference")
        #expect(abs(try #require(report.accuracy) - 0.77) < 1e-9)
        #expect(abs(try #require(report.accuracyDeviation) - 0.04876246279442599) < 1e-9)
        #expect(abs(try #require(report.threshold) - 0.18197031170129777) < 1e-9)
        #expect(report.operating.map(\.far) == [1e-2, 1e-3, 1e-4])
        #expect(abs(try #require(report.operating[0].tar) - 0.34) < 1e-9)
        #expect(abs(try #require(report.operating[0].threshold) - 0.46497607231140137) < 1e-9)
        #expect(abs(try #require(report.auc) - 0.8751444444444445) < 1e-9)
        #expect(
            report.roc.first.map { [$0.far, $0.tar] } == [0, 0] && report.roc.last.map { [$0.far, $0.tar] } == [1, 1])
        #expect(zip(report.roc, report.roc.dropFirst()).allSatisfy { $0.far <= $1.far && $0.tar <= $1.tar })
    }

    @Test func extremesOfScores() {
        let perfect = PairScores(scores: [0.9, 0.8, 0.1, 0.2], same: [true, true, false, false], folds: [0, 1, 0, 1])
            .report(name: "p")
        #expect(perfect.accuracy == 1 && perfect.auc == 1)
        let tied = PairScores(scores: [0.5, 0.5, 0.5, 0.5], same: [true, false, true, false], folds: [0, 0, 1, 1])
            .report(name: "t")
        #expect(tied.accuracy == 0.5 && tied.auc == 0.5)
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
        #expect(report.auc == 1 && report.accuracy ?? 0 > 0.8 && report.skippedPairs == 0)
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
        // Those that were left out when the set was opened count too.
        var list = set
        list.problems = [DatasetError(.missingFile, "a pair"), DatasetError(.missingFile, "another")]
        #expect(try list.evaluate(options: options) { embedValues($0) }.skippedPairs == affected + 2)
        #expect(throws: DatasetError.self) { try set.evaluate(options: options) { $0 } }
    }

    /// They would score about 50 %, as if the backbone knew nothing.
    @Test(arguments: [0, Float.infinity, .nan])
    func embeddingsWithoutADirectionAreRefused(value: Float) throws {
        let set = try VerificationSet(heldOut: Faces(), pairsPerKind: 12, seed: 3, flips: true, folds: 4)
        let error = try #require(throws: DatasetError.self) {
            try set.evaluate { images in
                let rows = embedValues(images)
                for column in 0..<2 { rows.mutable(Float.self)[6 + column] = value }
                return rows
            }
        }
        #expect(error.code == .badEmbedding)
        #expect(error.message.contains("the embedding of \(try #require(error.index)) is"), "\(error)")
    }

    @Test func setsOfOneFileNameAreToldApart() {
        func set(_ name: String, _ path: String?) -> VerificationSet {
            VerificationSet(name: name, images: Faces(), pairs: [], flips: true, path: path)
        }
        let names = VerificationSet.distinguished([
            set("lfw", "/a/x/lfw.bin"), set("agedb", "/a/x/agedb.bin"), set("lfw", "/a/y/lfw.bin"),
            set("held-out", nil), set("held-out", "/a/held-out.bin"), set("cfp", "/b/cfp.bin"),
            set("cfp", "/b/cfp.bin"),
            set("z", "/p/q/z.bin"), set("z", "/r/q/z.bin"),
        ]).map(\.name)
        #expect(
            names == [
                "x/lfw", "agedb", "y/lfw", "held-out", "a/held-out", "b/cfp", "b/cfp (2)", "p/q/z", "r/q/z",
            ])
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
        let path = ProcessInfo.processInfo.environment["ROC_PICTURE"] ?? folder.path + "/roc.svg"
        var second = referenceScores()
        for index in second.scores.indices where second.same[index] { second.scores[index] += 0.3 }
        try ROCPlot.write([referenceScores().report(name: "reference"), second.report(name: "<b> & \u{7}")], to: path)
        let text = String(decoding: try #require(FileManager.default.contents(atPath: path)), as: UTF8.self)
        #expect(text.hasPrefix("<svg xmlns=") && text.hasSuffix("</svg>\n"))
        #expect(text.contains(">reference   accuracy ") && text.contains(">&lt;b&gt; &amp; \u{FFFD}   accuracy "))
        let curves = text.split(separator: "\n").filter { $0.hasPrefix("<polyline") }
        #expect(curves.count == 2 && curves[0] != curves[1])
        #expect(!text.contains("nan") && !text.contains("inf"))
        #expect(throws: DatasetError.self) { try ROCPlot.write([], to: folder.path + "/nowhere/roc.svg") }
    }
}
