internal import Cluster

/// What a worker knows of the attempt that it is computing.
struct WorkerAttempt<Payload: Sendable>: Sendable {
    /// A request that waits for its answer.
    struct Outstanding: Sendable {
        var payload: Payload
        let firstSent: Duration
        var nextSend: Duration
        var nextComplaint: Duration
        /// How often the shard has said that it is not ready.
        var notReadyCount = 0
        /// Whether the shard has turned the last one down: then it is sent again, and not asked about.
        var isTurnedDown = false

        init(payload: Payload, at now: Duration, _ timing: WorkerTiming) {
            self.payload = payload
            firstSent = now
            nextSend = now + timing.retryInterval
            nextComplaint = now + timing.requestDeadline
        }

        /// The shard has it, or it is on its way.
        mutating func postpone(_ now: Duration, _ timing: WorkerTiming) {
            nextSend = max(nextSend, now + timing.retryInterval)
            nextComplaint = max(nextComplaint, now + timing.requestDeadline)
        }

        /// The shard is not ready: it is asked again at once, then ever less often.
        mutating func retrySoon(_ now: Duration, _ timing: WorkerTiming) {
            let pause = Duration.milliseconds(min(100, 5 << min(notReadyCount, 5)))
            nextSend = now + min(timing.retryInterval, pause)
            notReadyCount += 1
            isTurnedDown = true
        }
    }

    /// The conversation with one shard. Replies are dropped once a computation has taken them.
    struct Shard: Sendable {
        var outstanding: [StepPhase: Outstanding] = [:]
        var answered: Set<StepPhase> = []
        var replies: [StepPhase: Payload] = [:]
        /// From the first sending of each request to its answer.
        var waited = Duration.zero
    }

    /// What keeps an attempt from sending.
    enum State: Sendable {
        case running
        /// A shard has left the attempt behind: only a newer plan helps.
        case superseded
        /// Reported to the coordinator, again and again until a newer plan comes.
        case reported(WorkerReport, nextReport: Duration)
    }

    let id: StepID
    let rank: Int
    let microBatches: Range<Int>
    var shards: [Shard]
    var state = State.running
    var features: Payload?
    var lossSums: [Double] = []
    var gradientNorm = 0.0
    /// When the shards were asked to update.
    var updateStart: Duration?
    var clock: WorkerClock

    init(plan: Plan, rank: Int, at now: Duration) {
        id = plan.id
        self.rank = rank
        microBatches = plan.ranks[rank].microBatches
        shards = Array(repeating: Shard(), count: plan.shards.count)
        clock = WorkerClock(start: now)
    }

    /// Every shard is prepared, and the coordinator is being told so.
    var isDone: Bool {
        if case .reported(.done, _) = state { true } else { false }
    }

    func allAnswered(_ phase: StepPhase) -> Bool { shards.allSatisfy { $0.answered.contains(phase) } }

    /// Takes every shard's reply of `phase`, by shard number.
    mutating func takeReplies(_ phase: StepPhase) -> [Payload] {
        shards.indices.compactMap { shards[$0].replies.removeValue(forKey: phase) }
    }

    /// Payloads held by this attempt.
    var payloadCount: Int {
        shards.reduce(0) { $0 + $1.outstanding.count + $1.replies.count } + (features == nil ? 0 : 1)
    }

    /// What the coordinator is told when every shard is prepared.
    func result(at now: Duration) -> StepResult {
        let total = now - clock.start
        return StepResult(
            id: id, microBatches: microBatches, lossSums: lossSums, gradientNorm: gradientNorm,
            backboneSeconds: clock.backbone / .seconds(1), exchangeSeconds: (total - clock.busy) / .seconds(1),
            totalSeconds: total / .seconds(1), updateSeconds: (now - (updateStart ?? now)) / .seconds(1),
            shardSeconds: shards.map { $0.waited / .seconds(1) })
    }
}

/// Tells computation from waiting: computations run one after the other.
struct WorkerClock: Sendable {
    let start: Duration
    private(set) var busy = Duration.zero
    private(set) var backbone = Duration.zero
    private var pending = 0
    private var taskStart = Duration.zero

    init(start: Duration) { self.start = start }

    /// Whether a result is still to come.
    var isComputing: Bool { pending > 0 }

    mutating func queued(at now: Duration) {
        if pending == 0 { taskStart = now }
        pending += 1
    }

    mutating func completed(isBackbone: Bool, at now: Duration) {
        busy += now - taskStart
        if isBackbone { backbone += now - taskStart }
        taskStart = now
        pending = max(0, pending - 1)
    }
}
