internal import Cluster
internal import Determinism
internal import StepProtocol

/// A cluster, a network and their misfortunes, all drawn from one seed. Times are in milliseconds of simulated time.
struct Scenario {
    /// What the shards keep on their disks.
    enum Durability: Sendable {
        case steps, checkpoints, mixed
    }

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
    /// Long enough in half of the runs that only repetition helps.
    var requestDeadline: Duration
    var durability: Durability
    /// Whether hosts may lose power, with what is not synced.
    var hasPowerCuts: Bool
    /// Whether a disk may be lost with everything on it.
    var losesDisks: Bool
    var takesSnapshots: Bool
    var syncsAlways: Bool
    /// Steps whose gradient is not finite, and who notices.
    var poisoned: Set<Int> = []
    var poisonsShards: Bool
    var changesClasses: Bool
    var changesRates: Bool
    var isElastic: Bool
    var rebalancesAutomatically: Bool
    var movesAtOnce: Int
    var checkpointEverySteps: Int
    /// Members and strangers that do what they should not, for good.
    var malice = Malice()
    var sabotage: Sabotage?
    /// Whether attempts of a step have different data, as those of a job that is started again may have.
    var variesInputs: Bool
    /// Whether the hosts of all shards may lose power just after a step that took several attempts: what is left may be the record of
    /// one that was not committed.
    var losesPowerAfterRetries = false
    /// Whether workers get micro-batches by the speed that they have shown.
    var sharesAreMeasured = false
    /// Whether a shard's host loses power when the run is over.
    var losesPowerAtTheEnd: Bool
    /// Whether copies of shards' directories are started beside them.
    var hasCopies: Bool
    /// Whether the operator goes back to checkpoints.
    var goesBack: Bool
    /// Whether the workers are ranks of jobs with a network of their own.
    var hasJobs = false
    /// Whether messages are lost for a while in one direction only, between any two processes.
    var cutsOneWay = false
    /// Whether standbys take over from coordinators that live.
    var hasStandby = false
    /// Whether shards lose all workers for a while, or to the end of the run, and keep the coordinator.
    var isolatesShards = false
    /// Whether every slice has a second copy.
    var secondCopies = false
    /// Whether hosts are lost with their disks.
    var losesHosts = false
    /// Whether the coordinator's database is put back from a copy. What was ordered since is lost.
    var putsDatabaseBack: Bool
    /// Whether the coordinator's database is lost, and made again from what the shards have.
    var losesDatabase = false

    init(seed: UInt64) {
        self.seed = seed
        var random = KeyedRandom(seed: seed, purpose: .test, 1)
        func pick<T>(_ values: [T]) -> T { values[Int(random.below(UInt64(values.count)))] }
        shards = 1 + Int(random.below(4))
        workers = 1 + Int(random.below(4))
        microBatches = 1 + Int(random.below(5))
        steps = 4 + Int(random.below(9))
        exchange = pick([.features, .rows])
        loss = pick([0, 0, 0.01, 0.05, 0.2])
        doubling = pick([0, 0.02, 0.1, 0.3])
        straggling = pick([0, 0.01, 0.05])
        slowness = pick([0, 0, 0.02, 0.1])
        calm = 2_000 + Int64(random.below(15_000))
        faultInterval = pick([300, 800, 2_000, 1_000_000])
        requestDeadline = pick([.seconds(3), .seconds(3_600)])
        durability = pick([.steps, .steps, .steps, .steps, .steps, .checkpoints, .mixed])
        hasPowerCuts = random.below(2) == 0
        losesDisks = random.below(12) == 0
        takesSnapshots = random.below(3) > 0
        syncsAlways = random.below(3) == 0
        poisonsShards = random.below(2) == 0
        changesClasses = random.below(4) == 0
        isElastic = random.below(3) > 0
        rebalancesAutomatically = random.below(2) == 0
        movesAtOnce = 1 + Int(random.below(4))
        checkpointEverySteps = pick([0, 0, 2, 3])
        changesRates = random.below(3) == 0
        var more = KeyedRandom(seed: seed, purpose: .test, 3)
        let logsAll = durability == .steps
        variesInputs = more.below(3) == 0 && logsAll
        losesPowerAtTheEnd = more.below(4) == 0 && logsAll && hasPowerCuts
        hasCopies = more.below(4) == 0 && logsAll
        goesBack = more.below(3) == 0 && checkpointEverySteps > 0
        putsDatabaseBack = more.below(5) == 0 && logsAll && !changesClasses && !changesRates && !goesBack && !losesDisks
        if random.below(4) == 0 { poisoned = Set((0..<steps).filter { _ in random.below(5) == 0 }) }
        var yetMore = KeyedRandom(seed: seed, purpose: .test, 6)
        malice = Malice(&yetMore)
        var andMore = KeyedRandom(seed: seed, purpose: .test, 7)
        let isUnlucky = andMore.below(2) == 0
        if durability == .mixed, andMore.below(2) == 0 { variesInputs = true }
        losesPowerAfterRetries = isUnlucky && variesInputs && hasPowerCuts
        if losesPowerAfterRetries { syncsAlways = false }
        sharesAreMeasured = andMore.below(3) == 0
        // What a liar says must be true: figures that depend on the attempt it cannot know.
        if variesInputs { malice.lies = false }
        var jobs = KeyedRandom(seed: seed, purpose: .test, 9)
        if jobs.below(4) == 0 { useJobs(&jobs) }
        var loss = KeyedRandom(seed: seed, purpose: .test, 13)
        losesDatabase = loss.below(3) == 0 && logsAll && !losesDisks && !putsDatabaseBack
        var copies = KeyedRandom(seed: seed, purpose: .test, 14)
        if copies.below(4) == 0, logsAll { keepCopies() }
        cutsOneWay = copies.below(3) == 0
        // Workers that some other shard does not reach either could do without none of the two.
        isolatesShards = secondCopies && copies.below(2) == 0 && !malice.cuts && !isElastic
        // Workers complain later than a shard is taken for lost, as they do in a real run.
        if isolatesShards { (steps, requestDeadline) = (max(steps, 10), .seconds(3_600)) }
        // Where little else happens, copies are complete, and others can go on.
        if isolatesShards, copies.below(3) > 0 { (faultInterval, losesHosts, calm) = (5_000, false, max(calm, 12_000)) }
        hasStandby = copies.below(4) == 0 && !losesDatabase && !putsDatabaseBack
    }

    /// What keeps copies logs its steps, and every shard's log is about every slice.
    private mutating func keepCopies() {
        (secondCopies, losesHosts) = (true, true)
        exchange = .features
        (losesDisks, putsDatabaseBack, hasCopies) = (false, false, false)
        shards = max(shards, 2)
    }

    /// All of a job's ranks or none: nobody can be left out of it, and nothing that a rank does for ever can be borne.
    private mutating func useJobs(_ random: inout KeyedRandom) {
        hasJobs = true
        variesInputs = true
        let divisors = (1...microBatches).filter { microBatches % $0 == 0 }
        workers = divisors[Int(random.below(UInt64(divisors.count)))]
        (malice.mutes, malice.lies, malice.cuts, malice.crashes) = (false, false, false, false)
        (sharesAreMeasured, putsDatabaseBack, losesPowerAfterRetries) = (false, false, false)
    }

    /// Takes a fault into its shells, and whatever that needs to do harm.
    mutating func suffer(_ sabotage: Sabotage) {
        self.sabotage = sabotage
        switch sabotage {
        case .installsSnapshotEarly:
            // The log that it drops is missed only after a power cut at another shard.
            (hasPowerCuts, takesSnapshots, syncsAlways, durability) = (true, true, false, .steps)
            (shards, steps, faultInterval, calm) = (max(shards, 2), 12, 300, 17_000)
        case .replaysTornRecord:
            (hasPowerCuts, syncsAlways, durability, faultInterval) = (true, false, .steps, 300)
        case .acknowledgesUnsynced:
            (hasPowerCuts, syncsAlways, durability, faultInterval, calm) = (true, false, .steps, 300, 17_000)
            poisoned = Set(stride(from: 1, to: steps, by: 2))
        case .forgetsWhichAttempt:
            // It is missed only where attempts differ, and everyone else has forgotten it too.
            (variesInputs, losesPowerAfterRetries, hasPowerCuts, syncsAlways) = (true, true, true, false)
            (durability, malice.lies) = (.steps, false)
        case .keepsOldClasses: (changesClasses, calm, faultInterval) = (true, 17_000, 300)
        case .adoptsNoClasses:
            (changesClasses, isElastic, rebalancesAutomatically, calm, faultInterval) = (true, true, true, 17_000, 300)
        case .shardDoesNotJoinAgain, .saysWhatItBeganWith: (calm, faultInterval) = (17_000, 300)
        case .doesNotJoinAgain, .keepsOldConnections:
            // Others would do its work.
            (calm, faultInterval, workers) = (17_000, 300, 1)
        case .inventsInputs, .saysAnotherStep, .swapsParts:
            var random = KeyedRandom(seed: seed, purpose: .test, 10)
            useJobs(&random)
            (calm, faultInterval) = (17_000, 300)
        case .dropsLogBehindCopies, .losesGradientsOfCopies, .comesBackEmpty:
            (durability, hasPowerCuts, hasJobs, takesSnapshots, calm) = (.steps, false, false, true, 17_000)
            (steps, variesInputs, changesClasses) = (12, false, false)
            keepCopies()
        default: break
        }
    }

    static let lease: Int64 = 2_000
    static let heartbeat: Int64 = 500
    /// How long after the last fault a run may take: every step may have waited for several leases.
    static let patience: Int64 = 200_000
    /// More happens only if somebody says the same again and again.
    static let eventLimit = 500_000
    static let largestShardCount = 5

    var hasMischief: Bool { hasCopies || goesBack || putsDatabaseBack }

    var batchSize: Int { microBatches * 4 }

    /// Slices that shards own.
    var sliceCount: Int { hasJobs ? Toy.slices : Toy.sliceCount }

    func logs(_ host: Int) -> Bool {
        switch durability {
        case .steps: true
        case .checkpoints: false
        case .mixed: host % 2 == 0
        }
    }

    var coordinator: CoordinatorConfiguration {
        var configuration = CoordinatorConfiguration(
            batchSize: batchSize, microBatchCount: microBatches, sliceCount: Toy.slices,
            denseSliceCount: hasJobs ? 0 : Toy.denseSlices, expectedShards: shards, minimumWorkers: workers,
            totalSteps: steps,
            exchange: exchange, lease: .milliseconds(Self.lease), unresponsiveLimit: 2,
            unresponsiveBackoff: .milliseconds(200), learningRate: Toy.learningRate, head: Toy.head)
        configuration.checkpointDirectory = "checkpoints"
        configuration.checkpointEverySteps = checkpointEverySteps
        configuration.checkpointsKept = 2
        configuration.rebalancesAutomatically = rebalancesAutomatically
        configuration.onNotFinite = .skip(limit: 100)
        configuration.movesAtOnce = movesAtOnce
        // A worker that is let in again soon has not yet said which shards it does not reach.
        configuration.stuckAfter = .seconds(isolatesShards ? [1, 2, 4][Int(seed % 3)] : 4)
        configuration.writesResults = !hasJobs
        if hasJobs { configuration.job = JobPolicy(setsRate: false, goesBackFreely: true) }
        configuration.sharesAreMeasured = sharesAreMeasured
        if secondCopies {
            (configuration.copies, configuration.promoteAfter) = (2, .milliseconds(1_500))
            if seed % 3 == 0 || isolatesShards { configuration.minimumCopies = 2 }
        }
        return configuration
    }

    var timing: WorkerTiming {
        WorkerTiming(
            retryInterval: .milliseconds(400), requestDeadline: requestDeadline, askInterval: .milliseconds(300),
            maximumAskInterval: .seconds(2))
    }

    var summary: String {
        "\(shards) shards (\(durability)), \(workers) workers, \(microBatches) micro-batches, \(steps) steps, \(exchange), "
            + "loss \(loss), doubling \(doubling), straggling \(straggling), slowness \(slowness), calm after \(calm) ms, "
            + "power cuts \(hasPowerCuts), lost disks \(losesDisks), snapshots \(takesSnapshots), syncs always \(syncsAlways), "
            + "poisoned \(poisoned.sorted()), classes \(changesClasses), rates \(changesRates), elastic \(isElastic), "
            + "varied inputs \(variesInputs), power lost after retries \(losesPowerAfterRetries), measured shares \(sharesAreMeasured), power lost at the end \(losesPowerAtTheEnd), copies \(hasCopies), goes back "
            + "\(goesBack), database lost \(losesDatabase), second copies \(secondCopies), shards without workers \(isolatesShards), cut one way \(cutsOneWay), standby \(hasStandby), jobs \(hasJobs), database put back \(putsDatabaseBack), \(malice)"
    }
}
