import Dataset
import Foundation
import TestSupport
import Testing
import Verification

/// The synthetic set of `evaluation.py` as files: 600 rows, 120 templates, two galleries.
private struct Files {
    let folder: TemporaryFolder
    var media: [String] = []
    var points: [String] = []
    var pairs: [String] = []

    init() throws {
        folder = try TemporaryFolder()
        for row in 0..<600 {
            media.append("img/\(row).jpg \(1000 + row % 120) \(row / 240)")
            let score = AdamWGolden.number(row, kind: 30) + 0.5
            points.append("img/\(row).jpg 38.2 51.7 73.5 51.5 56 71.7 41.5 92.3 70.7 92.2 \(score)")
        }
        for a in 0..<120 {
            for b in a + 1..<120 { pairs.append("\(1000 + a) \(1000 + b) \(a % 30 == b % 30 ? 1 : 0)") }
        }
    }

    func write() throws {
        func put(_ lines: [String], _ name: String) throws {
            _ = try folder.write(Array((lines.joined(separator: "\n") + "\n").utf8), to: "meta/ijbc_\(name)")
        }
        try put(media, "face_tid_mid.txt")
        try put(points, "name_5pts_score.txt")
        try put(pairs, "template_pair_label.txt")
        let header = ["TEMPLATE_ID,SUBJECT_ID,FILENAME"]
        try put(header + (0..<15).map { "\(1000 + $0),\($0 % 30),a" }, "1N_gallery_G1.csv")
        try put(header + (15..<25).map { "\(1000 + $0),\($0 % 30),a" }, "1N_gallery_G2.csv")
        // A template has a line for each of its images.
        try put(
            header + (30..<120).flatMap { ["\(1000 + $0),\($0 % 30),a", "\(1000 + $0),\($0 % 30),b"] },
            "1N_probe_mixed.csv")
    }

    func report(_ options: TemplatePool.Options = .init(), identification: Bool = false) throws -> TemplateReport {
        try write()
        let set = try TemplateSet(folder: folder.path, name: .ijbc)
        var pool = TemplatePool(set, size: 8, options: options)
        for part in 0..<5 {
            try GoldenFigures.features(120, kind: 21 + part).withUnsafeBufferPointer { try pool.add($0) }
        }
        return try TemplateReport(
            set, features: pool.templates(), options: options, identification: identification, threads: 2)
    }

    func refusal(identification: Bool = true) -> String {
        do {
            _ = try report(identification: identification)
            return "accepted"
        } catch { return "\(error)" }
    }
}

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct TemplateTests {
    @Test(arguments: [(true, true), (true, false), (false, true), (false, false)])
    func pooledTemplatesHaveTheFiguresOfNumPy(keepNorm: Bool, detectorScore: Bool) throws {
        let golden = try GoldenFigures()
        let name = "pool.\(keepNorm ? 1 : 0)\(detectorScore ? 1 : 0)"
        let report = try Files().report(.init(keepNorm: keepNorm, detectorScore: detectorScore))
        let rates = report.verification.rates
        #expect(golden.agrees(name + ".nearest", rates.map(\.nearest)))
        #expect(golden.agrees(name + ".at", rates.map(\.nearestFAR)))
        #expect(golden.agrees(name + ".strict", rates.map(\.strict)))
        // Scores are float32 here and float64 there: a pair in a million may be equal in one of them.
        #expect(golden.agrees(name + ".auc", [report.verification.auc], within: 1e-6))
        #expect(rates[0].reason?.contains("do not resolve") == true)
        #expect(report.notes.isEmpty)
    }

    @Test func identificationHasTheFiguresOfNumPy() throws {
        let golden = try GoldenFigures()
        let report = try Files().report(identification: true)
        for (name, found) in zip(["first", "second"], report.identification) {
            let values = [Double(found.mated), Double(found.nonMated)] + found.hits.map(Double.init)
            #expect(golden.agrees("search.\(name)", values + found.rates.map(\.tpir)))
        }
        #expect(golden.agrees("search.both", (report.rankRates ?? []) + report.meanRates))
        #expect(report.text.contains("TPIR@FPIR=0.1 15.00 %"))
    }

    /// A set without some rows is the set whose files lack those lines.
    @Test func rowsThatAreLeftOutWereNeverThere() throws {
        let missing: Set<Int> = [0, 7, 121, 300, 599]
        let kept = (0..<600).filter { !missing.contains($0) }
        let features = (0..<5).flatMap { GoldenFigures.features(120, kind: 21 + $0) }
        let rows = kept.flatMap { features[$0 * 8..<($0 + 1) * 8] }
        func templates(_ set: TemplateSet) throws -> [Float] {
            var pool = TemplatePool(set, size: 8)
            try rows.withUnsafeBufferPointer { try pool.add($0) }
            return try pool.templates().values
        }
        let whole = try Files()
        try whole.write()
        let all = try TemplateSet(folder: whole.folder.path, name: .ijbc)
        var files = try Files()
        files.media = kept.map { files.media[$0] }
        files.points = kept.map { files.points[$0] }
        try files.write()
        let fewer = try TemplateSet(folder: files.folder.path, name: .ijbc)
        #expect(try templates(all.keeping(kept)) == templates(fewer))
        #expect(all.keeping(kept).rowWeights != kept.map { all.rowWeights[$0] })
    }

    @Test func ofEqualScoresTheWrongOneIsBetter() throws {
        // Two persons of one feature: neither is found at rank 1.
        let features = TemplateFeatures(normalizing: [1, 0, 1, 0, 1, 0, 0, 1], size: 2)
        let gallery = TemplateList(name: "g", rows: [0, 1], persons: [7, 8])
        let found = try Identification(
            features, gallery: gallery, probes: TemplateList(name: "p", rows: [2, 3], persons: [7, 9]), threads: 1)
        #expect(found.hits == [0, 1])
        #expect(found.rates.map(\.tpir) == [0, 0])
        #expect(found.rates[0].reason?.contains("do not resolve") == true)
    }

    @Test func trapsAreRefusedWithTheirPlace() throws {
        var files = try Files()
        files.pairs[4] = "1000 7777 0"
        #expect(files.refusal().contains("template_pair_label.txt: line 5 names the template 7777, which has no image"))
        files = try Files()
        files.points[2] = files.points[2].split(separator: " ").dropLast().joined(separator: " ") + " -0.5"
        #expect(files.refusal().contains("line 3 has the score -0.5, which is not in 0…1"))
        files.points[2] = files.points[2].split(separator: " ").dropLast().joined(separator: " ") + " nan"
        #expect(files.refusal().contains("line 3 has the score nan"))
        files = try Files()
        files.points.removeLast()
        #expect(files.refusal().contains("has 599 lines"))
        files = try Files()
        files.points[0] = "a" + String(repeating: " 1", count: 137)
        #expect(files.refusal().contains("line 1 has 68 landmarks"))
        files = try Files()
        files.media[9] = "img/9.jpg 1009"
        #expect(files.refusal().contains("face_tid_mid.txt: line 10 is not an image's name"))
        files.media[9] = String(repeating: "x", count: 5000) + " 1009 0"
        #expect(files.refusal().contains("line 10 has more than 4096 bytes"))
        files = try Files()
        files.pairs[0] = "1000 1001 2"
        #expect(files.refusal().contains("line 1 is not two template ids and 0 or 1"))
        files.pairs[0] = "99999999999 1001 1"
        #expect(files.refusal().contains("line 1 is not two template ids and 0 or 1"))
    }

    @Test func namesThatDifferAreSaid() throws {
        var files = try Files()
        files.points.swapAt(3, 4)
        let note = try #require(try files.report().notes.first)
        #expect(note.hasPrefix("2 lines name another image"))
        #expect(note.contains("line 4: img/3.jpg in one file, img/4.jpg in the other"))
    }

    @Test func aNumberOfRowsThatDiffersIsRefused() throws {
        let files = try Files()
        try files.write()
        let set = try TemplateSet(folder: files.folder.path, name: .ijbc)
        var pool = TemplatePool(set, size: 8)
        let part = GoldenFigures.features(120, kind: 21)
        try part.withUnsafeBufferPointer { try pool.add($0) }
        let early = pool
        #expect(throws: DatasetError.self) { try early.templates() }
        for _ in 0..<4 { try part.withUnsafeBufferPointer { try pool.add($0) } }
        #expect(throws: DatasetError.self) { try part.withUnsafeBufferPointer { try pool.add($0) } }
    }

    @Test func aTemplateOfZerosScoresZero() throws {
        let files = try Files()
        try files.write()
        let set = try TemplateSet(folder: files.folder.path, name: .ijbc)
        var pool = TemplatePool(set, size: 1, options: .init(keepNorm: false, detectorScore: true))
        let values = (0..<600).map { Float($0 % 120 == 0 ? 0 : 1) }
        try values.withUnsafeBufferPointer { try pool.add($0) }
        let features = try pool.templates()
        #expect(features.zeroCount == 1)
        #expect(features.scores(try TemplatePairs(of: set), threads: 1)[0] == 0)
        let report = try TemplateReport(set, features: features, options: .init(), identification: false, threads: 1)
        #expect(report.notes == ["1 templates are zero: their score with every other is 0"])
    }
}
