internal import Determinism
internal import StepProtocol

/// A cluster, a network and their misfortunes, all drawn from one seed. Times are in milliseconds of simulated time.
struct Scenario {
    let seed: UInt64
    var shards: Int
    var workers: Int
    var microBatches: Int
    var steps: Int
    var exchange: Exchange
    /// Probabilities that a message is lost or doubled, and that it takes seconds instead of milliseconds.
    var loss: Double
    var doubling: Double
    var straggling: Double
    /// Probability that a computation takes seconds.
    var slowness: Double
    /// Faults stop at this time.
    var calm: Int64
    /// Mean time between faults.
    var faultInterval: Int64
    /// Whether shards may lose their state, which only a run without a committed step survives.
    var shardsCrash: Bool
    /// Long enough in half of the runs that only repetition helps.
    var requestDeadline: Duration
    var sabotage: Sabotage?

    init(seed: UInt64) {
        self.seed = seed
        var random = KeyedRandom(seed: seed, purpose: .test, 1)
        func pick<T>(_ values: [T]) -> T { values[Int(random.below(UInt64(values.count)))] }
        shards = 1 + Int(random.below(4))
        workers = 1 + Int(random.below(4))
        microBatches = 1 + Int(random.below(7))
        steps = 3 + Int(random.below(6))
        exchange = pick([.features, .rows])
        loss = pick([0, 0, 0.01, 0.05, 0.2])
        doubling = pick([0, 0.02, 0.1, 0.3])
        straggling = pick([0, 0.01, 0.05])
        slowness = pick([0, 0, 0.02, 0.1])
        calm = 2_000 + Int64(random.below(20_000))
        faultInterval = pick([500, 1_500, 4_000, 1_000_000])
        shardsCrash = random.below(20) == 0
        requestDeadline = pick([.seconds(3), .seconds(3_600)])
    }

    static let lease: Int64 = 2_000
    static let heartbeat: Int64 = 500
    /// How long after the last fault a run may take: every step may have waited for several leases.
    static let patience: Int64 = 120_000

    var batchSize: Int { microBatches * 4 }

    var coordinator: CoordinatorConfiguration {
        CoordinatorConfiguration(
            batchSize: batchSize, microBatchCount: microBatches, sliceCount: 8, denseSliceCount: 4,
            expectedShards: shards, minimumWorkers: workers, totalSteps: steps, exchange: exchange,
            lease: .milliseconds(Self.lease), unresponsiveLimit: 1_000, unresponsiveBackoff: .milliseconds(200),
            learningRate: Toy.learningRate)
    }

    var timing: WorkerTiming {
        WorkerTiming(
            retryInterval: .milliseconds(400), requestDeadline: requestDeadline, askInterval: .milliseconds(300),
            maximumAskInterval: .seconds(2))
    }

    var summary: String {
        "\(shards) shards, \(workers) workers, \(microBatches) micro-batches, \(steps) steps, \(exchange), loss \(loss), "
            + "doubling \(doubling), straggling \(straggling), slowness \(slowness), calm after \(calm) ms"
    }
}
