import Foundation
import Tensors
import Testing

@Suite struct SafeTensorsTests {
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
        #"{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}}"#,
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

    @Test func missingAndMistypedTensorsAreNamed() throws {
        let missing = #expect(throws: SafeTensorsError.self) { try sample.tensor("c", .f32, in: "x") }
        #expect(missing?.problem.contains("no tensor c") == true)
        #expect(throws: SafeTensorsError.self) { try sample.tensor("a", .i64, in: "x") }
    }
}
