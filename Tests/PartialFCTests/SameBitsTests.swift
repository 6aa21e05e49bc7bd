import Cluster
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

/// The same bits for any number of shards, workers and threads, and in both exchanges.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SameBitsTests {
    static let configurations = [
        HeadConfiguration(
            classCount: 300, embeddingSize: 37, sliceCount: 16, seed: 9, margins: .arcFace(), sampleRate: 0.3),
        HeadConfiguration(
            classCount: 9, embeddingSize: 16, sliceCount: 16, seed: 9, interclassFilter: 0.4, sampleRate: 0.5),
        HeadConfiguration(
            classCount: 5000, embeddingSize: 24, sliceCount: 4, seed: 11,
            margins: HeadMargins(m1: 0.9, m2: 0.4, m3: 0.15),
            sampleRate: 0.9),
    ]

    @Test(arguments: configurations) func inAnySpread(configuration: HeadConfiguration) throws {
        var expected: [StepOutcome] = []
        for way in Spread.Way.allCases {
            for (shards, workers, threads) in [
                (1, 1, 1), (1, 1, 2), (2, 1, 1), (2, 2, 2), (3, 2, 1), (3, 3, 2), (4, 5, 1), (1, 8, 3),
            ] {
                // Slices that lie apart, too.
                let spread = Spread(
                    exchange: way, shards: shards, workers: workers, microBatchSize: 4, threads: threads,
                    scattered: workers > 1)
                let run = try HeadRun(configuration, spread)
                var outcomes: [StepOutcome] = []
                for step in 0..<3 {
                    let (features, labels) = makeBatch(configuration, size: 24, step: step)
                    outcomes.append(try run.prepare(step: step, features: features, labels: labels, learningRate: 0.1))
                    try run.commit()
                }
                if expected.isEmpty { expected = outcomes }
                #expect(outcomes == expected, "\(spread)")
            }
        }
        #expect(expected[0].hashes != expected[1].hashes)
        #expect(expected[0].hashes.count == configuration.sliceCount)
    }

    @Test func rollbackPutsEveryBitBack() throws {
        let configuration = Self.configurations[0]
        for way in Spread.Way.allCases {
            let run = try HeadRun(
                configuration, Spread(exchange: way, shards: 2, workers: 2, microBatchSize: 4, threads: 2))
            let first = makeBatch(configuration, size: 24, step: 0)
            _ = try run.prepare(step: 0, features: first.features, labels: first.labels, learningRate: 0.1)
            try run.commit()
            let before = run.shards.map { $0.sliceHashes() }
            let second = makeBatch(configuration, size: 24, step: 1)
            let outcome = try run.prepare(step: 1, features: second.features, labels: second.labels, learningRate: 0.1)
            #expect(run.shards.map { $0.sliceHashes() } != before)
            for shard in run.shards { shard.rollback() }
            #expect(run.shards.map { $0.sliceHashes() } == before)
            // Undone before it was prepared, and when nothing was under way.
            for shard in run.shards {
                try shard.begin(step: 1, microBatchSize: 4, labels: second.labels)
                shard.rollback()
                shard.rollback()
                #expect(shard.phase == .idle)
            }
            #expect(run.shards.map { $0.sliceHashes() } == before)
            // Another attempt gives what the first gave.
            #expect(
                try run.prepare(step: 1, features: second.features, labels: second.labels, learningRate: 0.1) == outcome
            )
        }
    }

    @Test func anUpdateThatIsNotFiniteChangesNothing() throws {
        let configuration = Self.configurations[0]
        let run = try HeadRun(configuration, Spread(exchange: .features, shards: 2, workers: 1, microBatchSize: 4))
        let before = run.shards.map { $0.sliceHashes() }
        let batch = makeBatch(configuration, size: 24)
        #expect {
            try run.prepare(
                step: 0, features: batch.features, labels: batch.labels, learningRate: Float.greatestFiniteMagnitude)
        } throws: { error in
            (error as? HeadError)?.code == .notFinite && "\(error)".contains("class")
        }
        #expect(run.shards.map { $0.sliceHashes() } == before)
        #expect(run.shards[0].phase == .begun)
        // The same step works with another rate.
        for shard in run.shards { shard.rollback() }
        _ = try run.prepare(step: 0, features: batch.features, labels: batch.labels, learningRate: 0.1)
        #expect(run.shards[0].sliceHashes() != before[0])
    }

    @Test func repliesThatAreStillHeldDoNotChange() throws {
        let configuration = Self.configurations[0]
        let shard = try ShardHead(configuration: configuration, slices: SliceSet(0..<16), threads: 1)
        let batch = makeBatch(configuration, size: 24)
        try shard.begin(step: 0, microBatchSize: 4, labels: batch.labels)
        let held = try shard.rowsReply()
        let copy = held[2].array(Float.self)
        shard.rollback()
        try shard.begin(step: 1, microBatchSize: 4, labels: batch.labels)
        #expect(held[2].array(Float.self) == copy)
        #expect(try shard.rowsReply()[2].array(Float.self) != copy)
    }
}
