import Foundation
import Tensors
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SafeTensorsTests {
    private let path = FileManager.default.temporaryDirectory.appending(path: "\(UUID()).safetensors").path

    private func withFile(_ body: () throws -> Void) rethrows {
        defer { try? FileManager.default.removeItem(atPath: path) }
        try body()
    }

    private let sample = SafeTensors(
        tensors: [
            "a": Tensor([1.5, -2, 3] as [Float], shape: [3, 1]), "b": Tensor([7, 8] as [Int64]),
            "empty": Tensor([] as [Double], shape: [0, 4]), "half": Tensor([0x3f80, 0xffc0] as [UInt16]),
            "bytes": Tensor([1, 255] as [UInt8]), "none": Tensor([] as [UInt8], shape: [7, 0]),
        ], metadata: ["scale": "64"])

    @Test func whatIsWrittenIsRead() throws {
        try withFile {
            try sample.write(to: path)
            let read = try SafeTensors(contentsOf: path)
            #expect(read.metadata == ["scale": "64"])
            #expect(read.tensors["a"]?.array(Float.self) == [1.5, -2, 3])
            #expect(read.tensors["a"]?.shape == [3, 1])
            #expect(read.tensors["b"]?.array(Int64.self) == [7, 8])
            #expect(read.tensors["empty"]?.shape == [0, 4])
            #expect(read.tensors["half"]?.dtype == .bf16)
            #expect(read.tensors["half"]?.array(UInt16.self) == [0x3f80, 0xffc0])
            #expect(read.tensors["bytes"]?.array(UInt8.self) == [1, 255])
            #expect(read.tensors["none"]?.shape == [7, 0])
        }
    }

    @Test func everyTruncationIsAnError() throws {
        try withFile {
            try sample.write(to: path)
            let whole = try Data(contentsOf: URL(fileURLWithPath: path))
            for length in 0..<whole.count {
                try whole.prefix(length).write(to: URL(fileURLWithPath: path))
                #expect(throws: SafeTensorsError.self) { try SafeTensors(contentsOf: path) }
            }
        }
    }

    @Test(arguments: [
        #"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
        #"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#,
        #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[9223372036854775807,-9223372036854775805]}}"#,
        #"{"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,5]}}"#,
        #"{"a":{"dtype":"Q4","shape":[-1],"data_offsets":[0,4]}}"#,
        #"{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,4]}}"#,
        "[]",
    ])
    func impossibleHeadersAreErrors(header: String) throws {
        try withFile {
            var data = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
            data.append(contentsOf: header.utf8)
            data.append(contentsOf: [0, 0, 0, 0])
            try data.write(to: URL(fileURLWithPath: path))
            #expect(throws: SafeTensorsError.self) { try SafeTensors(contentsOf: path) }
        }
    }

    /// Types that are not known here are in nobody's way, and real numbers of any width are read.
    @Test func otherTypesDoNotMatter() throws {
        try withFile {
            let header =
                #"{"mask":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]},"new":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[3,4]},"half":{"dtype":"F16","shape":[2],"data_offsets":[4,8]},"brain":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]},"double":{"dtype":"F64","shape":[1],"data_offsets":[12,20]},"float":{"dtype":"F32","shape":[1],"data_offsets":[20,24]},"steps":{"dtype":"I64","shape":[],"data_offsets":[24,32]}}"#
            var data = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
            data.append(contentsOf: header.utf8)
            data.append(contentsOf: [1, 0, 1, 9])
            for half: UInt16 in [0x3E00, 0xC400, 0x3FC0, 0xFF80] {
                withUnsafeBytes(of: half.littleEndian) { data.append(contentsOf: $0) }
            }
            withUnsafeBytes(of: (0.1).bitPattern.littleEndian) { data.append(contentsOf: $0) }
            withUnsafeBytes(of: Float(7).bitPattern.littleEndian) { data.append(contentsOf: $0) }
            withUnsafeBytes(of: Int64(5).littleEndian) { data.append(contentsOf: $0) }
            try data.write(to: URL(fileURLWithPath: path))
            #expect(try SafeTensors(contentsOf: path).tensors["float"]?.array(Float.self) == [7])
            let file = try SafeTensorsFile(path)
            #expect(file.names.count == 7 && file.shape("mask") == [3] && file.shape("nothing") == nil)
            #expect(try file.floats("half").array(Float.self) == [1.5, -4])
            let brain = try file.floats("brain")
            #expect(brain.shape == [1, 2] && brain.array(Float.self) == [1.5, -.infinity])
            #expect(try file.floats("double").array(Float.self) == [0.1])
            #expect(try file.floats("float").array(Float.self) == [7])
            for (name, word) in [("mask", "BOOL"), ("steps", "I64"), ("nothing", "has no tensor")] {
                let error = #expect(throws: SafeTensorsError.self) { try file.floats(name) }
                #expect(error?.problem.contains(word) == true)
            }
            let part = UnsafeMutableBufferPointer<Float>.allocate(capacity: 1)
            defer { part.deallocate() }
            try file.read(file.reals("half"), from: 1, into: part)
            #expect(part[0] == -4)
            #expect(throws: SafeTensorsError.self) { try file.entry("half", .f32) }
        }
    }

    @Test func missingAndMistypedTensorsAreNamed() throws {
        let missing = #expect(throws: SafeTensorsError.self) { try sample.tensor("c", .f32, in: "x") }
        #expect(missing?.problem.contains("no tensor c") == true)
        #expect(throws: SafeTensorsError.self) { try sample.tensor("a", .i64, in: "x") }
    }
}
