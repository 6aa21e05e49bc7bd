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

/// A shard that owns every slice and does steps without a cluster: features and normalizers are made up.
struct SteppingShard {
    let model: ShardEngine
    /// Whether samples are a job's: some without class, each with margins and a weight.
    private let servesJob: Bool
    private static let classes = 48
    private static let size = 8
    private static let batch = 8

    static func setup(slices: Int, isExternal: Bool = false) throws -> RunSetup {
        var configuration = RunConfiguration()
        configuration.data.kind = isExternal ? "external" : "features"
        configuration.data.classes = max(classes, slices)
        configuration.backbone.name = isExternal ? "external" : "none"
        configuration.backbone.embeddingSize = size
        if isExternal {
            configuration.schedule.rate = "job"
        } else {
            configuration.data.samples = 1000
            configuration.backbone.denseSlices = 1
        }
        configuration.head.slices = slices
        configuration.batch.size = batch
        configuration.batch.microBatch = batch
        return try RunSetup(configuration)
    }

    static func store(
        _ directory: String, sync: ShardStore.SyncMode = .always, segmentByteLimit: Int = 4 << 10
    ) throws -> ShardStore {
        let store = try ShardStore(
            directory: directory, sync: sync, syncInterval: .seconds(3600), segmentByteLimit: segmentByteLimit)
        try store.adopt(ShardStore.Identity(clusterID: "cluster", member: 0, configurationHash: "abc"))
        return store
    }

    /// - Parameter snapshots: by default a round begins after every step, and fails for no longer than a moment.
    init(_ setup: RunSetup, _ store: ShardStore, snapshots: SnapshotOptions? = nil) throws {
        var options = snapshots ?? SnapshotOptions(logByteCount: 0)
        options.pause = .zero
        servesJob = setup.configuration.isExternal
        model = try ShardEngine(setup: setup.shard, store: store, threads: 1, snapshots: options)
        guard !model.ownsSlices else { return }
        _ = try model.perform(
            StepID(step: 0, attempt: 0),
            .own(slices: SliceSet(numbers: Array(0..<setup.head.sliceCount)), denseSlices: [0], mapVersion: 1),
            plan: plan(0))
    }

    private func plan(_ step: Int) -> Plan {
        Plan(
            id: StepID(step: step, attempt: 0), committed: step - 1, mapVersion: 1, exchange: .features,
            learningRate: 0.1, ranks: [], shards: [], activity: .train)
    }

    /// Does the next step, whose numbers are a function of its number alone.
    ///
    /// - Parameter head: the values of the head in it, as the plan has them.
    func step(head: HeadValues? = nil) throws {
        let number = model.committed + 1
        let id = StepID(step: number, attempt: 0)
        var random = KeyedRandom(seed: UInt64(number), purpose: .centerInitialization, 1)
        func value() -> Float { Float(random.next() >> 40) / Float(1 << 24) - 0.5 }
        let labels = Tensor(
            (0..<Self.batch).map { servesJob && $0 % 3 == 1 ? -1 : Int64(random.below(UInt64(Self.classes))) })
        let features = Tensor((0..<Self.batch * Self.size).map { _ in value() }, shape: [Self.batch, Self.size])
        let normalizers = Tensor([Double](repeating: 40, count: Self.batch))
        let nothing = [
            Tensor([Int32](repeating: 0, count: 2), shape: [1, 2]), Tensor(zeros: Float.self, shape: [1, 0]),
        ]
        let (forward, backward) = ([features] + margins(number), [normalizers] + weights(number))
        // A run without a backbone has no dense phase, and nobody says a norm.
        let dense: [ShardComputation<[Tensor]>] = servesJob ? [] : [.dense([nothing])]
        let computations: [ShardComputation<[Tensor]>] = [
            .sample(
                ranks: [.init(microBatches: 0..<1, payload: [labels])], learningRate: 0.1, exchange: .features,
                head: head),
            .forward(rank: 0, microBatches: 0..<1, payload: forward),
            .backward(forward: [[forward]], backward: [backward]),
        ]
        let rest: [ShardComputation<[Tensor]>] = [
            .update(payload: servesJob ? [] : [Tensor([0.0])], learningRate: 0.1), .commit,
        ]
        for computation in computations + dense + rest { _ = try model.perform(id, computation, plan: plan(number)) }
        model.noteSafe(number)
    }

    /// Margins of every sample, in all steps but every third.
    private func margins(_ step: Int) -> [Tensor] {
        if !servesJob || step % 3 == 1 { return [] }
        let values = (0..<Self.batch).flatMap { [1, Float($0 + step % 7) / 20, 0.1] as [Float] }
        return [Tensor(values, shape: [Self.batch, 3])]
    }

    /// Weights of every sample, in all steps but every third.
    private func weights(_ step: Int) -> [Tensor] {
        !servesJob || step % 3 == 2 ? [] : [Tensor((0..<Self.batch).map { Float($0 % 4) / 2 })]
    }
}
