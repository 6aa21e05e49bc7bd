import Cluster
import Configuration
import Determinism
import Model
import ParameterStore
import Setup
import ShardModel
import ShardServer
import StepProtocol
import Tensors
import TestSupport
import Testing

/// Slices of the backbone that change hands between steps.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct DenseMoveTests {
    private let setup: RunSetup

    init() throws {
        var configuration = RunConfiguration()
        configuration.data.kind = "folder"
        (configuration.data.imageSize, configuration.data.channels) = (16, 1)
        (configuration.data.classes, configuration.data.samples, configuration.data.fingerprint) = (48, 1000, "x")
        configuration.backbone.widths = [8, 8, 16, 16]
        (configuration.backbone.embeddingSize, configuration.backbone.denseSlices) = (16, 8)
        configuration.head.slices = 4
        (configuration.batch.size, configuration.batch.microBatch) = (8, 8)
        setup = try RunSetup(configuration)
    }

    private func plan(_ step: Int) -> Plan {
        Plan(
            id: StepID(step: step, attempt: 0), committed: step - 1, mapVersion: 1, exchange: .features,
            learningRate: 0.1, ranks: [], shards: [], activity: .train)
    }

    private func own(_ model: ShardEngine, _ slices: SliceSet, _ dense: SliceSet, mapVersion: Int) throws {
        let step = model.committed + 1
        _ = try model.perform(
            StepID(step: step, attempt: 0), .own(slices: slices, denseSlices: dense, mapVersion: mapVersion),
            plan: plan(step))
    }

    /// The next step on one shard, whose numbers are a function of its number alone.
    private func step(_ model: ShardEngine) throws {
        let number = model.committed + 1
        var random = KeyedRandom(seed: UInt64(number), purpose: .test)
        func values(_ count: Int) -> [Float] {
            (0..<count).map { _ in Float(random.next() >> 40) / Float(1 << 24) - 0.5 }
        }
        let labels = Tensor((0..<8).map { _ in Int64(random.below(48)) })
        let features = Tensor(values(8 * 16), shape: [8, 16])
        let all = values(setup.layout.count)
        let own = setup.layout.ranges(ofSlices: model.denseSlices, of: 8).flatMap { Array(all[$0]) }
        let pushed = [Tensor([Int32(0), 0], shape: [1, 2]), Tensor(own, shape: [1, own.count])]
        let computations: [ShardComputation<[Tensor]>] = [
            .sample(ranks: [.init(microBatches: 0..<1, payload: [labels])], learningRate: 0.1, exchange: .features),
            .forward(rank: 0, microBatches: 0..<1, payload: [features]),
            .backward(forward: [[[features]]], backward: [[Tensor([Double](repeating: 40, count: 8))]]),
            .dense([pushed]), .update(payload: [Tensor([4.0])], learningRate: 0.1), .commit,
        ]
        for computation in computations {
            _ = try model.perform(StepID(step: number, attempt: 0), computation, plan: plan(number))
        }
    }

    /// Copies a slice, and hands it over.
    private func move(_ slice: SliceName, from owner: ShardEngine, to receiver: ShardEngine, task: Int) throws {
        var (index, count) = (0, 1)
        while index < count {
            let request = TransferRequest(slice: slice, term: 0, mapVersion: 1, part: .chunk(index))
            guard case .chunk(let pieces, let step, let payload) = try owner.content(of: request) else {
                Issue.record("no piece \(index) of \(slice)")
                return
            }
            count = pieces
            try receiver.storeChunk(slice, index: index, count: count, step: step, payload)
            index += 1
        }
        let kind = BoundaryTask.Kind.handOver([
            SliceMove(slice: slice, from: MemberID(.shard, 0), to: MemberID(.shard, 1))
        ])
        let outcome = try receiver.perform(
            BoundaryTask(number: task, step: receiver.committed, kind: kind), plan: plan(receiver.committed + 1))
        #expect(outcome == .done(detail: ""))
    }

    /// The log of the receiver says nothing of the slice's steps before it came.
    @Test func aSliceThatCameIsThereAfterARestart() throws {
        let folder = try TemporaryFolder()
        func store() throws -> ShardStore {
            let store = try ShardStore(directory: folder.path + "/shard", sync: .never, syncInterval: .seconds(3600))
            try store.adopt(ShardStore.Identity(clusterID: "cluster", member: 1, configurationHash: "abc"))
            return store
        }
        let still = try ShardEngine(setup: setup.shard, store: nil, threads: 1)
        try own(still, SliceSet(0..<4), SliceSet(0..<8), mapVersion: 1)
        let giver = try ShardEngine(setup: setup.shard, store: nil, threads: 1)
        try own(giver, [0, 1], [0, 1, 2, 6], mapVersion: 1)
        var wanted: [Int: String] = [:]
        do {
            let receiver = try ShardEngine(setup: setup.shard, store: store(), threads: 1)
            receiver.member = 1
            try own(receiver, [2, 3], [3, 4, 5, 7], mapVersion: 1)
            for _ in 0..<3 { for model in [still, giver, receiver] { try step(model) } }
            try move(.dense(1), from: giver, to: receiver, task: 1)
            try own(receiver, [2, 3], [1, 3, 4, 5, 7], mapVersion: 2)
            try own(giver, [0, 1], [0, 2, 6], mapVersion: 2)
            for _ in 0..<2 { for model in [still, giver, receiver] { try step(model) } }
            wanted = receiver.hashes().denseSlices
            #expect(wanted == still.hashes().denseSlices.filter { [1, 3, 4, 5, 7].contains($0.key) })
        }
        let again = try ShardEngine(setup: setup.shard, store: store(), threads: 1)
        // The last record may be of a step that the cluster has not committed.
        if let prepared = again.prepared { _ = try again.perform(prepared, .commit, plan: nil) }
        #expect(again.hashes().denseSlices == wanted)
        #expect(again.hashes().slices == still.hashes().slices.filter { $0.key >= 2 })
    }
}
