import Dataset
import Foundation
import TestSupport
import Testing
import Verification

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct EmbeddingFileTests {
    private static func values(_ rows: Range<Int>) -> [Float] {
        var values: [Float] = []
        for row in rows { values += [Float(row), Float(row) + 0.25, -1] }
        return values
    }

    private func append(_ output: EmbeddingOutput, _ rows: Range<Int>) throws {
        let values = Self.values(rows)
        try values.withUnsafeBufferPointer { try output.append($0, size: 3) }
    }

    @Test(arguments: ["e.npy", "e.safetensors"]) func goesOnAfterWhatWasSynced(name: String) throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/" + name
        do {
            let output = try EmbeddingOutput(path: path, work: ["preprocess": "a"])
            try append(output, 0..<4)
            try output.sync()
            // Not noted, and half a row besides: what a kill leaves.
            try append(output, 4..<6)
        }
        let rows = try #require(FileHandle(forWritingAtPath: path + ".rows"))
        try rows.seekToEnd()
        try rows.write(contentsOf: Data([1, 2, 3]))
        try rows.close()
        let output = try EmbeddingOutput(path: path, work: ["preprocess": "a"])
        #expect(output.count == 4)
        #expect(throws: DatasetError.self) { try EmbeddingOutput(path: path, work: ["preprocess": "a"]) }
        try append(output, 4..<10)
        try output.finish(names: (0..<10).map { "n\($0)" }, labels: (0..<10).map { Int64($0 / 2) }, metadata: [:])
        let written = try EmbeddingRows(path: path)
        #expect(written.count == 10 && written.size == 3)
        #expect(try written.rows(0..<10) == Self.values(0..<10))
        #expect(try written.rows(9..<10) == [9, 9.25, -1])
        let names = try String(contentsOfFile: path + ".names.tsv", encoding: .utf8)
        #expect(names.hasPrefix("label\tname\n0\tn0\n0\tn1\n1\tn2\n"))
        #expect(!FileManager.default.fileExists(atPath: path + ".rows"))
        #expect(!FileManager.default.fileExists(atPath: path + ".progress"))
    }

    /// Rows that took hours are not thrown away because an option was forgotten.
    @Test func anotherWorkIsRefused() throws {
        let folder = try TemporaryFolder()
        do {
            let output = try EmbeddingOutput(path: folder.path + "/e.npy", work: ["preprocess": "a"])
            try append(output, 0..<4)
            try output.sync()
        }
        let error = #expect(throws: DatasetError.self) {
            try EmbeddingOutput(path: folder.path + "/e.npy", work: ["preprocess": "b", "flip": "true"])
        }
        #expect(
            error?.message
                == "has 4 rows of another embedding: flip was nothing, is true; preprocess was a, is b; remove it to begin anew, or give another output"
        )
        #expect(try EmbeddingOutput(path: folder.path + "/e.npy", work: ["preprocess": "a"]).count == 4)
        // Of an earlier version, or damaged.
        _ = try folder.write(Array(#"{"work": "a", "size": 3, "rows": 4}"#.utf8), to: "e.npy.progress")
        let unknown = #expect(throws: DatasetError.self) {
            try EmbeddingOutput(path: folder.path + "/e.npy", work: ["preprocess": "a"])
        }
        #expect(unknown?.message.contains("does not say what the rows beside it were made of") == true)
        try FileManager.default.removeItem(atPath: folder.path + "/e.npy.progress")
        #expect(try EmbeddingOutput(path: folder.path + "/e.npy", work: ["preprocess": "b"]).count == 0)
    }

    @Test func damagedArraysAreRefused() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/e.npy"
        let output = try EmbeddingOutput(path: path, work: ["preprocess": "a"])
        try append(output, 0..<4)
        try output.finish(names: ["a", "b", "c", "d"], labels: nil, metadata: [:])
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        func problem(_ bytes: [UInt8]) throws -> String {
            let damaged = try folder.write(bytes, to: "d.npy")
            do {
                _ = try EmbeddingRows(path: damaged)
                return "accepted"
            } catch { return "\(error)" }
        }
        #expect(try problem(whole) == "accepted")
        #expect(try problem(whole.dropLast()).contains("does not fit its shape (4, 3)"))
        #expect(try problem(Array(whole.prefix(20))).contains("cut off"))
        #expect(try problem([1, 2]).contains("no NumPy array"))
        for place in 0..<128 {
            for byte: UInt8 in [0, 0x39, 0xFF] {
                var bytes = whole
                bytes[place] = byte
                // Refused or read, and nothing else.
                _ = try problem(bytes)
            }
        }
    }

    @Test(arguments: [1, 3]) func imagesThatDoNotDecodeAreNamed(threads: Int) throws {
        let folder = try TemporaryFolder()
        for image in 0..<5 {
            let pixels = [UInt8](repeating: UInt8(image), count: image == 3 ? 2 : 16)
            _ = try folder.write(Array("P5 4 4 255\n".utf8) + pixels, to: "images/i\(image).pgm")
        }
        _ = try folder.write([1, 2, 3], to: "images/i0.jpg")
        let shape = ImageShape(channels: 1, height: 4, width: 4)
        let found = DecodableImages(
            of: try ListedImages(folder: folder.path + "/images", imageShape: shape), threads: threads)
        #expect(found.leftOut.map(\.index) == [0, 4])
        #expect(found.leftOut.map { ($0.name as NSString).lastPathComponent } == ["i0.jpg", "i3.pgm"])
        #expect(found.indices == [1, 2, 3, 5] && found.sampleCount == 4)
        var pixels = [UInt8](repeating: 9, count: 16)
        try pixels.withUnsafeMutableBufferPointer { try found.image(at: 3, into: $0) }
        #expect(pixels == [UInt8](repeating: 4, count: 16))
        #expect(found.origin(of: 3).hasSuffix("i4.pgm"))
        try found.writeLeftOut(to: folder.path + "/l.tsv")
        let lines = try String(contentsOfFile: folder.path + "/l.tsv", encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 3 && lines[2].hasPrefix("4\t") && lines[2].contains("i3.pgm\t"))
    }
}
