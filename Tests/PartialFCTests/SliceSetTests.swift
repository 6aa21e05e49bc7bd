import Cluster
import Determinism
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

/// Slices that come and go between the steps of a run.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SliceSetTests {
    static let configuration = SameBitsTests.configurations[0]

    /// Slices move from shard to shard after every step; nothing of the result changes.
    @Test(arguments: Spread.Way.allCases) func movesBetweenStepsChangeNoBit(way: Spread.Way) throws {
        let spread = Spread(exchange: way, shards: 3, workers: 2, microBatchSize: 4, threads: 2)
        let (still, moving) = (try HeadRun(Self.configuration, spread), try HeadRun(Self.configuration, spread))
        var random = KeyedRandom(seed: 3, purpose: .test)
        for step in 0..<6 {
            let (features, labels) = makeBatch(Self.configuration, size: 24, step: step)
            let expected = try still.prepare(step: step, features: features, labels: labels, learningRate: 0.1)
            let outcome = try moving.prepare(step: step, features: features, labels: labels, learningRate: 0.1)
            #expect(outcome == expected, "after step \(step): \(moving.shards.map(\.activeSlices))")
            try still.commit()
            try moving.commit()
            for _ in 0..<3 {
                let slice = Int(random.below(16))
                let from = try #require(moving.shards.first { $0.activeSlices.contains(slice) })
                let to = moving.shards[Int(random.below(3))]
                if from === to { continue }
                try to.hold(slice)
                try ReplayTests.copy(slice, from: from, to: to, pieces: nil)
                try to.activate([slice])
                try from.deactivate([slice])
                try from.remove([slice])
            }
        }
        #expect(moving.shards.map(\.activeSlices) != still.shards.map(\.activeSlices))
        #expect(
            moving.shards.reduce(0) { $0 + $1.memoryByteCount } == still.shards.reduce(0) { $0 + $1.memoryByteCount })
    }

    @Test func whatIsNotHeldIsRefused() throws {
        let shard = try ShardHead(configuration: Self.configuration, slices: [1, 5], threads: 1)
        #expect(throws: HeadError.self) { try shard.hold(5) }
        #expect(throws: HeadError.self) { try shard.hold(16) }
        #expect(throws: HeadError.self) { try shard.hold(-1) }
        #expect(throws: HeadError.self) { try shard.hold(3, rowCount: .max) }
        #expect(throws: HeadError.self) { try shard.hold(3, rowCount: 1) }
        #expect(throws: HeadError.self) { try shard.activate([2]) }
        #expect(throws: HeadError.self) { try shard.add([5, 6], from: .zeros) }
        #expect(throws: (any Error).self) { try shard.table.withChunk(1, of: 5) { _ in } }
        #expect(throws: (any Error).self) { try shard.table.withChunk(-1, of: 5) { _ in } }
        #expect(throws: (any Error).self) { try shard.table.withChunk(0, of: 2) { _ in } }
        #expect(throws: HeadError.self) { try shard.read(ids: [0]) }
        #expect(shard.table.slices == [1, 5] && shard.activeSlices == [1, 5])
        try shard.hold(2)
        let inside = shard.table.layout.classes(of: 2).ids[0]
        #expect(throws: HeadError.self) { try shard.read(ids: [inside]) }
        #expect(try shard.table.read(ids: [inside]).rows.array(Float.self).allSatisfy { $0 == 0 })
        try shard.remove([2, 9])
        #expect(shard.table.slices == [1, 5])
        // A slice that is taken up anew begins as every slice does.
        try shard.remove([5])
        try shard.add([5], from: .random(seed: Self.configuration.seed))
        #expect(
            shard.sliceHashes()
                == (try ShardHead(configuration: Self.configuration, slices: [1, 5], threads: 1)).sliceHashes())
    }

    @Test func aShardWithoutSlicesTakesPart() throws {
        let batch = makeBatch(Self.configuration, size: 8)
        let shard = try ShardHead(configuration: Self.configuration, slices: [], threads: 1)
        try shard.begin(step: 0, microBatchSize: 4, labels: batch.labels)
        #expect(try shard.beginReply()[0].shape == [0])
        let reply = try shard.forward(features: batch.features, microBatches: 0..<2)
        #expect(reply[0].shape == [0, 2] && reply[4].shape == [0])
        try shard.backward(
            features: [batch.features], logZ: [Tensor(zeros: Double.self, shape: [8])], learningRate: 0.1)
        try shard.prepare(learningRate: 0.1)
        try shard.commit()
    }
}
