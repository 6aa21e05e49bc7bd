import Foundation
import Tensors
import TestSupport
import Testing

/// Safetensors files that are written and read piece by piece.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SafeTensorsStreamTests {
    private let path = FileManager.default.temporaryDirectory.appending(path: "\(UUID().uuidString).safetensors").path

    private func append(_ values: [Float], to writer: SafeTensorsWriter) throws {
        let tensor = Tensor(values)
        try writer.append(UnsafeRawBufferPointer(start: tensor.rawPointer, count: tensor.byteCount))
        withExtendedLifetime(tensor) {}
    }

    @Test func piecesMakeTheSameFile() throws {
        defer { try? FileManager.default.removeItem(atPath: path) }
        let values = (0..<24).map(Float.init)
        let writer = try SafeTensorsWriter(
            path, tensors: [.init("b", .f32, [4, 3]), .init("a", .f32, [12])], metadata: ["k": "v"])
        for start in stride(from: 0, to: 24, by: 8) { try append(Array(values[start..<start + 8]), to: writer) }
        #expect(!FileManager.default.fileExists(atPath: path))
        try writer.finish()

        let whole = try SafeTensors(contentsOf: path)
        #expect(whole.tensors["b"]?.array(Float.self) == Array(values.prefix(12)))
        #expect(whole.tensors["a"]?.array(Float.self) == Array(values.suffix(12)))
        #expect(whole.metadata == ["k": "v"])

        let file = try SafeTensorsFile(path)
        let entry = try file.entry("b", .f32)
        #expect(entry.shape == [4, 3])
        let row = Tensor(zeros: Float.self, shape: [3])
        try file.read(entry, from: 2 * 3 * 4, into: UnsafeMutableRawBufferPointer(start: row.rawPointer, count: 12))
        #expect(row.array(Float.self) == [6, 7, 8])
        #expect(throws: SafeTensorsError.self) { try file.entry("b", .i64) }
        #expect(throws: SafeTensorsError.self) { try file.entry("c", .f32) }
    }

    @Test func anUnfinishedFileLeavesNothing() throws {
        do {
            let writer = try SafeTensorsWriter(path, tensors: [.init("a", .f32, [4])])
            try append([1, 2], to: writer)
            #expect(throws: SafeTensorsError.self) { try writer.finish() }
            #expect(throws: SafeTensorsError.self) { try append([1, 2, 3], to: writer) }
        }
        #expect(!FileManager.default.fileExists(atPath: path))
        #expect(!FileManager.default.fileExists(atPath: path + ".partial"))
    }

    @Test func unwritablePathsAreErrors() {
        #expect(throws: SafeTensorsError.self) {
            try SafeTensorsWriter("/missing/directory/file", tensors: [.init("a", .f32, [1])])
        }
        #expect(throws: SafeTensorsError.self) { try SafeTensorsFile("/") }
    }
}
