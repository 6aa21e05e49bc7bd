import Cluster
import Model
import ParameterStore
import ShardModel
import ShardServer
import StepProtocol
import Tensors
import TestSupport
import Testing

/// Steps of a job on a shard that keeps a log.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct JobStepTests {
    /// The last record of a log may be of a step that the cluster has not committed: here it has.
    private func commit(_ shard: SteppingShard) throws {
        if let id = shard.model.prepared { _ = try shard.model.perform(id, .commit, plan: nil) }
    }

    /// Margins, weights and missing classes are in the log: what is done again after a kill has the same bits.
    @Test func areDoneAgainAfterAKill() throws {
        let folder = try TemporaryFolder()
        let setup = try SteppingShard.setup(slices: 4, isExternal: true)
        let undisturbed = try SteppingShard(setup, SteppingShard.store(folder.path + "/undisturbed"))
        for _ in 0..<8 { try undisturbed.step() }
        let directory = folder.path + "/killed"
        for steps in [3, 4, 1] {
            // Without snapshots the whole log is done again.
            let shard = try SteppingShard(
                setup, SteppingShard.store(directory), snapshots: SnapshotOptions(logByteCount: .max))
            try commit(shard)
            for _ in 0..<steps { try shard.step() }
        }
        let again = try SteppingShard(setup, SteppingShard.store(directory))
        #expect(again.model.restoring.replayedSteps > 0)
        try commit(again)
        #expect(again.model.committed == 7)
        #expect(again.model.hashes() == undisturbed.model.hashes())
    }

    /// Other runs take neither: whoever sends them expects an effect.
    @Test func areRefusedInOtherRuns() throws {
        let folder = try TemporaryFolder()
        let setup = try SteppingShard.setup(slices: 4)
        let shard = try SteppingShard(setup, SteppingShard.store(folder.path))
        try shard.step()
        let id = StepID(step: 1, attempt: 0)
        let plan = Plan(
            id: id, committed: 0, mapVersion: 1, exchange: .features, learningRate: 0.1, ranks: [], shards: [],
            activity: .train)
        func perform(_ computation: ShardComputation<[Tensor]>) throws {
            _ = try shard.model.perform(id, computation, plan: plan)
        }
        let labels = Tensor((0..<8).map { Int64($0) })
        let (x, margins) = (Tensor(zeros: Float.self, shape: [8, 8]), Tensor(zeros: Float.self, shape: [8, 3]))
        let without = Tensor((0..<8).map { Int64($0) - 1 })
        #expect(throws: Refusal.self) {
            try perform(
                .sample(ranks: [.init(microBatches: 0..<1, payload: [without])], learningRate: 0.1, exchange: .features)
            )
        }
        try perform(
            .sample(ranks: [.init(microBatches: 0..<1, payload: [labels])], learningRate: 0.1, exchange: .features))
        #expect(throws: Refusal.self) { try perform(.forward(rank: 0, microBatches: 0..<1, payload: [x, margins])) }
        try perform(.forward(rank: 0, microBatches: 0..<1, payload: [x]))
        let (logZ, weights) = (Tensor([Double](repeating: 40, count: 8)), Tensor([Float](repeating: 1, count: 8)))
        #expect(throws: Refusal.self) { try perform(.backward(forward: [[[x]]], backward: [[logZ, weights]])) }
        #expect(throws: Refusal.self) { try perform(.backward(forward: [[[x, margins]]], backward: [[logZ]])) }
        try perform(.backward(forward: [[[x]]], backward: [[logZ]]))
    }
}
