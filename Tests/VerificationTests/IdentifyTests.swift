import Dataset
import Foundation
import Tensors
import TestSupport
import Testing
import Verification

/// Search in rows of files, in bytes and in f32.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct IdentifyTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func file(
        _ name: String, _ rows: [Float], size: Int, labels: [Int64]? = nil, inBytes: Bool = false
    ) throws -> EmbeddingRows {
        let path = folder.path + "/\(name).safetensors"
        let output = try EmbeddingOutput(path: path, work: ["images": name])
        try rows.withUnsafeBufferPointer { try output.append($0, size: size) }
        try output.finish(
            names: (0..<rows.count / size).map { "n\($0)" }, labels: labels, metadata: [:], inBytes: inBytes)
        return try EmbeddingRows(path: path)
    }

    /// `thrice` of the script.
    private func thrice(_ count: Int, kind: Int) -> [Float] {
        let parts = (0..<3).map { GoldenFigures.features(count, kind: kind + 100 * $0) }
        return parts[0].indices.map { parts[0][$0] + parts[1][$0] + parts[2][$0] }
    }

    private func golden(inBytes: Bool) throws -> (gallery: EmbeddingRows, probes: EmbeddingRows, others: EmbeddingRows)
    {
        let all = thrice(400, kind: 61)
        let kept = (0..<400).filter { $0 % 30 < 20 }
        return (
            try file(
                "gallery\(inBytes)", kept.flatMap { all[$0 * 8..<($0 + 1) * 8] }, size: 8,
                labels: kept.map { Int64($0 % 30) }, inBytes: inBytes),
            try file(
                "probes\(inBytes)", thrice(90, kind: 63), size: 8, labels: (0..<90).map { Int64($0 % 30) },
                inBytes: inBytes),
            try file("others\(inBytes)", AdamWGolden.numbers(40 * 8, kind: 62), size: 8, inBytes: inBytes)
        )
    }

    @Test(arguments: [false, true], [1, 2, 3]) func figuresAreThoseOfNumPy(inBytes: Bool, threads: Int) throws {
        let golden = try GoldenFigures()
        let rows = try self.golden(inBytes: inBytes)
        var options = RowIdentification.Options()
        (options.places, options.threads) = (6, threads)
        let found = try RowIdentification(
            gallery: rows.gallery, probes: rows.probes, distractors: [rows.others], options: options)
        let figures = try #require(found.identification)
        let counts = ([figures.mated, figures.nonMated] + figures.hits).map(Double.init)
        #expect(golden.agrees("bytes.figures", counts + figures.rates.map(\.tpir)))
        let nearest = [0, 7, 25, 89].flatMap { found.matches[$0].map { Double($0.row) } }
        #expect(golden.agrees("bytes.nearest", nearest))
        #expect(found.gallerySize == 310 && found.distractors == 40)
        // What bytes lose is measured where there are f32 rows.
        #expect((found.loss == nil) == inBytes)
        #expect(found.notes.contains { $0.contains("not known") } == inBytes)
        if let loss = found.loss { #expect(loss.probes == 90 && loss.recallAt1 > 0.9 && loss.recallAt1 < 1) }
    }

    @Test func filesInBytesHaveTheCodesOfNumPy() throws {
        let golden = try GoldenFigures()
        let rows = try self.golden(inBytes: true).gallery
        #expect(rows.isBytes)
        let file = try SafeTensorsFile(rows.path)
        let scales = try file.tensor(file.entry("scales", .f32)).array(Float.self)
        #expect(golden.agrees("bytes.scales", scales[..<3].map(Double.init), within: 1e-12))
        let codes = try file.signedBytes("features")
        var bytes = [Int8](repeating: 0, count: 24)
        try bytes.withUnsafeMutableBufferPointer { try file.read(codes, into: $0) }
        #expect(golden.agrees("bytes.codes", bytes.map(Double.init)))
        // Read back as real numbers: what other commands do.
        let back = try rows.rows(1..<3)
        #expect(back == (8..<24).map { Float(bytes[$0]) * scales[$0 / 8] })
    }

    @Test(arguments: [false, true]) func ofEqualScoresTheLowerRowIsFirst(isReal: Bool) throws {
        // Rows 1, 3, 5, … are one direction, at different lengths; 300 rows are several tiles.
        let rows = (0..<300).flatMap { row in
            (row % 2 == 1 ? [1, 2, 2] : [2, -2, 1]).map { Float($0) * Float(1 << (row % 4)) }
        }
        let gallery = try file("g", rows, size: 3)
        let probes = try file("p", [1, 2, 2, 2, -2, 1], size: 3)
        for threads in [1, 3] {
            var options = RowIdentification.Options()
            (options.places, options.isReal, options.threads) = (150, isReal, threads)
            let found = try RowIdentification(gallery: gallery, probes: probes, options: options)
            #expect(found.matches[0].map(\.row) == Array(stride(from: 1, to: 300, by: 2)))
            #expect(found.matches[1].map(\.row) == Array(stride(from: 0, to: 300, by: 2)))
            #expect(found.identification == nil && found.text.contains("without labels"))
        }
    }

    /// Wide rows, so that the gallery does not fit into one piece: against a plain loop over what is not zero.
    @Test(arguments: [false, true]) func severalPiecesAreOneGallery(isReal: Bool) throws {
        let (count, size, used) = (1300, 60000, 4)
        var rows = [Float](repeating: 0, count: count * size)
        for row in 0..<count {
            for k in 0..<used { rows[row * size + k] = Float((row * 7 + k * k * 31 + row * row % 11) % 17 - 8) }
            rows[row * size + used] = 127
        }
        let picked = [3, 1200]
        let gallery = try file("g", rows, size: size, labels: (0..<Int64(count)).map { $0 }, inBytes: !isReal)
        let probes = try file(
            "p", picked.flatMap { rows[$0 * size..<($0 + 1) * size] }, size: size, labels: [3, 9999])
        var options = RowIdentification.Options()
        (options.places, options.isReal, options.threads, options.comparedProbes) = (4, isReal, 2, 0)
        let found = try RowIdentification(gallery: gallery, probes: probes, options: options)
        for (index, probe) in picked.enumerated() {
            func numbers(_ row: Int) -> [Double] { (0...used).map { Double(rows[row * size + $0]) } }
            func product(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
            let mine = numbers(probe)
            let scores = (0..<count).map { row -> Double in
                let other = numbers(row)
                return product(mine, other) / (product(mine, mine) * product(other, other)).squareRoot()
            }
            let order = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
            #expect(found.matches[index].map(\.row)[0] == order[0])
            #expect(zip(found.matches[index], order).allSatisfy { abs(Double($0.score) - scores[$1]) < 1e-6 })
        }
        #expect(found.identification?.mated == 1 && found.identification?.nonMated == 1)
    }

    @Test func badFilesAreRefused() throws {
        func problem(_ tensors: [String: Tensor], other: EmbeddingRows? = nil, isReal: Bool = false) -> String {
            let path = folder.path + "/bad.safetensors"
            do {
                try SafeTensors(tensors: tensors).write(to: path)
                let rows = try EmbeddingRows(path: path)
                var options = RowIdentification.Options()
                options.isReal = isReal
                _ = try RowIdentification(gallery: rows, probes: other ?? rows, options: options)
                return "accepted"
            } catch { return "\(error)" }
        }
        let good = Tensor([1, 2, 3, 4] as [Float], shape: [2, 2])
        #expect(problem(["features": good]) == "accepted")
        #expect(problem(["codes": good]).contains("no tensor features"))
        #expect(problem(["features": Tensor([1, 2] as [Float])]).contains("not [n, D]"))
        #expect(problem(["features": Tensor([] as [Float], shape: [0, 2])]).contains("no rows"))
        #expect(problem(["features": Tensor([1, 2] as [Int64], shape: [1, 2])]).contains("expected real numbers"))
        let bad = Tensor([1, 2, .nan, 4] as [Float], shape: [2, 2])
        #expect(problem(["features": bad]).contains("not finite in row 1"))
        #expect(problem(["features": bad], isReal: true).contains("not finite in row 1"))
        #expect(
            problem(["features": good, "labels": Tensor([1] as [Int64])]).contains("labels of shape [1] for 2 rows"))
        #expect(problem(["features": good, "labels": good]).contains("labels"))
        let wide = try file("wide", [1, 2, 3], size: 3)
        #expect(problem(["features": good], other: wide).contains("rows of 3 numbers"))
    }

    /// Files of signed bytes, written by hand: this project's writer makes no bad ones.
    @Test func badScalesAreRefused() throws {
        func problem(_ header: String, _ bytes: [UInt8]) throws -> String {
            let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
            let path = try folder.write(length + Array(header.utf8) + bytes, to: "hand.safetensors")
            do {
                let rows = try EmbeddingRows(path: path)
                _ = try RowIdentification(gallery: rows, probes: rows)
                return "accepted"
            } catch { return "\(error)" }
        }
        func scale(_ value: Float) -> [UInt8] { withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
        let codes = #""features":{"dtype":"I8","shape":[1,4],"data_offsets":[0,4]}"#
        let scales = #""scales":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#
        #expect(try problem("{\(codes),\(scales)}", [1, 2, 3, 128] + scale(0.5)) == "accepted")
        #expect(try problem("{\(codes),\(scales)}", [1, 2, 3, 4] + scale(0)) == "accepted")
        for value: Float in [-1, .nan, .infinity] {
            #expect(try problem("{\(codes),\(scales)}", [1, 2, 3, 4] + scale(value)).contains("no finite number"))
        }
        #expect(try problem("{\(codes)}", [1, 2, 3, 4]).contains("no tensor scales"))
        let two = scales.replacing("[1]", with: "[2]").replacing("[4,8]", with: "[4,12]")
        #expect(try problem("{\(codes),\(two)}", [1, 2, 3, 4] + scale(1) + scale(1)).contains("not [n, D] and [n]"))
        let long = codes.replacing("[1,4]", with: "[1,5]")
        #expect(try problem("{\(long),\(scales)}", [1, 2, 3, 4] + scale(1)).contains("does not fit its offsets"))
    }

    @Test func namesBelongToTheirFile() throws {
        let rows = try file("g", [1, 0, 0, 1], size: 2, labels: [5, 6])
        #expect(try EmbeddingNames.of(rows.path, count: 2) == ["n0", "n1"])
        #expect(try EmbeddingNames.of(folder.path + "/other.safetensors", count: 2) == nil)
        for text in ["", "label\tname\n0\ta\n", "name\na\nb\n", "label\tname\n0\ta\n1\tb\n2\tc\n"] {
            _ = try folder.write(Array(text.utf8), to: "g.safetensors.names.tsv")
            let error = #expect(throws: DatasetError.self) { try EmbeddingNames.of(rows.path, count: 2) }
            #expect(error?.message.contains("does not belong to") == true)
        }
    }

    /// Rows in bytes are those that they decode to.
    @Test func allRowsAreFeatures() throws {
        let rows = thrice(6, kind: 61)
        let (reals, bytes) = (try file("r", rows, size: 8), try file("b", rows, size: 8, inBytes: true))
        let found = zip(try reals.features().values, try bytes.features().values)
        #expect(found.allSatisfy { abs($0 - $1) < 0.01 } && bytes.isBytes)
        let bad = try file("n", [1, .nan], size: 2)
        #expect(throws: DatasetError.self) { try bad.features() }
    }

    @Test func matchesAreWritten() throws {
        let gallery = try file("g", [1, 0, 0, 1, 1, 1], size: 2, labels: [5, 6, 7])
        let probes = try file("p", [0, 2], size: 2, labels: [6])
        var options = RowIdentification.Options()
        options.places = 2
        let found = try RowIdentification(gallery: gallery, probes: probes, distractors: [gallery], options: options)
        try found.writeMatches(to: folder.path + "/m.tsv")
        let text = try String(contentsOfFile: folder.path + "/m.tsv", encoding: .utf8)
        let head = "probe\tplace\trow\tcosine\tprobe_label\tlabel\tprobe_name\tname\n"
        #expect(text == head + "0\t1\t1\t1.0\t6\t6\t\t\n0\t2\t4\t1.0\t6\t\t\t\n")
        try found.writeMatches(
            to: folder.path + "/m.tsv", names: (0..<2).flatMap { _ in ["ann", "bob", "eve"] },
            probeNames: #require(try EmbeddingNames.of(probes.path, count: 1)))
        let named = try String(contentsOfFile: folder.path + "/m.tsv", encoding: .utf8)
        #expect(named == head + "0\t1\t1\t1.0\t6\t6\tn0\tbob\n0\t2\t4\t1.0\t6\t\tn0\tbob\n")
        // The same row among the distractors has the same score, and counts as the better.
        #expect(found.identification?.hits == [0, 1])
    }
}
