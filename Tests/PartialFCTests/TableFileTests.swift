import Cluster
import Foundation
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

/// Tables in files instead of memory.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct TableFileTests {
    private static let configuration = HeadConfiguration(
        classCount: 4000, embeddingSize: 64, sliceCount: 4, sampleRate: 0.3,
        optimizer: .sgd(.init(storage: .int8)), storage: .bf16, compute: .bf16)

    private func hashes(_ memory: TableMemory) throws -> [[Int: String]] {
        let run = try HeadRun(
            Self.configuration, Spread(exchange: .features, shards: 2, workers: 1, microBatchSize: 8, threads: 2),
            memory: memory)
        for step in 0..<4 {
            let batch = makeBatch(Self.configuration, size: 16, step: step)
            _ = try run.prepare(step: step, features: batch.features, labels: batch.labels, learningRate: 0.1)
            try run.commit()
        }
        return run.shards.map { $0.sliceHashes() }
    }

    @Test func bitsAreThoseOfMemory() throws {
        let folder = try TemporaryFolder()
        #expect(try hashes(.files(in: folder.path)) == hashes(.anonymous))
        // Nothing is left, whatever ends the process.
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }

    @Test func rowsAreAdded() throws {
        let folder = try TemporaryFolder()
        let buffer = try HugeBuffer(byteCount: 1 << 20, memory: .files(in: folder.path))
        buffer.base.initializeMemory(as: UInt8.self, repeating: 7, count: 1 << 20)
        try buffer.grow(to: 3 << 20)
        let bytes = UnsafeRawBufferPointer(start: buffer.base, count: 3 << 20)
        #expect(bytes.prefix(1 << 20).allSatisfy { $0 == 7 } && bytes.dropFirst(1 << 20).allSatisfy { $0 == 0 })
    }

    @Test func aPlaceThatCannotBeIsNamed() throws {
        let folder = try TemporaryFolder()
        let missing = folder.path + "/missing"
        #expect {
            try ShardHead(
                configuration: Self.configuration, slices: [0], threads: 1, memory: .files(in: missing))
        } throws: { "\($0)".contains(missing) && "\($0)".contains("No such file") }
        #expect {
            try HugeBuffer(byteCount: 1 << 50, memory: .files(in: folder.path))
        } throws: { "\($0)".contains(folder.path) }
    }
}
