public import Cluster

/// The shard's side of the step protocol: collects every rank's part of a step, answers each request once computed,
/// keeps the update undoable until the step is committed, and executes boundary tasks.
///
/// A value without I/O or clock. The shell feeds it events and executes its actions; it never looks into a payload.
/// The rules are in docs/step-protocol.md.
public struct ShardMachine<Peer: Hashable & Sendable, Payload: Sendable>: Sendable {
    public let member: MemberID
    /// The last committed step, -1 before the first.
    public internal(set) var committed: Int
    /// The newest step or attempt that the shard has heard of; everything before it is stale.
    public private(set) var current: StepID
    /// The version of the slice map that the shard has adopted, nil before the first.
    public internal(set) var mapVersion: Int?
    /// The newest plan.
    public internal(set) var plan: Plan?
    /// Whether the adopted slice map gives the shard any slices.
    public internal(set) var ownsSlices = false
    /// The slices that the shell has, and those of which it has copies that were handed over, whatever the map says.
    var owned: Set<SliceName>
    var copies: Set<SliceName>
    /// Slices of others that the shell has a second copy of, which its log makes current.
    var kept: Set<SliceName>
    /// The past that its state is of; 0 if that is not known.
    var past: UInt64

    private let microBatchCount: Int
    private let maximumWorldSize: Int
    private let empty: Payload
    let transfersPerStep: Int
    var attempt: ShardAttempt<Peer, Payload>?
    /// A step that was found applied in the log: it can be committed or undone, and nothing else is known of it.
    var restored: StepID?
    /// The task that the shell is executing.
    var runningTask: BoundaryTask?
    /// The map under which it was begun, and what that gives to this shard; nil: nothing.
    var runningMap: (version: Int, mine: Plan.Shard?)?
    var lastTask: (number: Int, outcome: TaskOutcome)
    /// That task itself; nil if it is from before a restart. A coordinator whose database was put back may use a number again.
    var lastDone: BoundaryTask?
    /// The last task whose copies are complete.
    var completedCopies = 0
    /// Requests of other shards that wait for a boundary, oldest first.
    var heldTransfers: [(peer: Peer, request: TransferRequest)] = []
    /// Chunks given since the last commit.
    var transfersThisStep = 0
    /// The time of the event in hand.
    var clock = Duration.zero
    /// When the attempt in hand was announced.
    var announcedAt = Duration.zero
    /// Computations that the shell was asked for and has not answered.
    private(set) var unfinishedComputations = 0
    /// When the coordinator may be asked for its plan again.
    private var nextAsk = Duration.zero

    /// - Parameters:
    ///   - member: this shard.
    ///   - microBatchCount: micro-batches M in the global batch; the ranks of a step must cover 0..<M.
    ///   - committed: the step whose state the shard holds, -1 for a new one.
    ///   - prepared: the last step in the log, applied on top of that state; nil if there is none.
    ///   - lastTask: the last task that needs no other acknowledgement than that it is done; 0 does them again.
    ///   - holdings: what the shell has from before; nil: nothing.
    ///   - transfersPerStep: chunks that are given to other shards between two commits while the cluster trains.
    ///   - maximumWorldSize: requests that claim more ranks are refused.
    ///   - empty: the payload of an answer that carries nothing (`backward`).
    public init(
        member: MemberID, microBatchCount: Int, committed: Int = -1, prepared: StepID? = nil, lastTask: Int = 0,
        holdings: ShardHoldings? = nil, transfersPerStep: Int = 8, maximumWorldSize: Int = Plan.memberLimit,
        empty: Payload
    ) {
        self.member = member
        self.microBatchCount = microBatchCount
        self.committed = committed
        (owned, copies, kept) = (holdings?.owned ?? [], holdings?.copies ?? [], holdings?.kept ?? [])
        past = holdings?.past ?? 0
        self.transfersPerStep = transfersPerStep
        self.maximumWorldSize = maximumWorldSize
        self.empty = empty
        self.lastTask = (lastTask, .done(detail: ""))
        restored = prepared
        current = prepared ?? StepID(step: committed, attempt: 0)
    }

    /// When the machine wants a `.tick`: never, a shard only reacts.
    public var nextDeadline: Duration? { nil }

    /// The step that is applied and waits for the coordinator's word, or nil.
    public var prepared: StepID? { restored ?? attempt.flatMap { $0.isPrepared ? $0.id : nil } }

    /// The number of the newest task that is done.
    public var newestTask: Int { lastTask.number }

    /// Payloads held, for limits and tests: at most five per rank and four.
    public var payloadCount: Int { attempt?.payloadCount ?? 0 }

    /// Requests of other shards that are held, for limits and tests.
    public var heldTransferCount: Int { heldTransfers.count }

    /// Takes an event and returns what the shell must do, in order.
    public mutating func handle(_ event: Event, at now: Duration) -> [Action] {
        clock = now
        attempt?.clock = now
        switch event {
        case .computed, .failed: unfinishedComputations = max(0, unfinishedComputations - 1)
        default: break
        }
        let actions = react(to: event)
        for case .compute(_, let computation) in actions where computation.hasResult { unfinishedComputations += 1 }
        return actions
    }

    private mutating func react(to event: Event) -> [Action] {
        switch event {
        case .request(let peer, let request, let sender):
            receive(request, from: peer, sender) + releaseTransfers()
        case .moving(let worker): noteMovement(worker)
        case .computed(let id, let result): complete(id, result)
        case .failed(let id, let task, let code, let message, let ranks): fail(id, task, code, message, ranks)
        case .plan(let plan): follow(plan) + releaseTransfers()
        case .taskDone(let number, let outcome): finish(number, outcome) + releaseTransfers()
        case .copiesComplete(let task): completeCopies(task)
        case .kept(let slices): note(kept: slices)
        case .past(let past): note(past: past)
        case .transfer(let peer, let request): transfer(request, to: peer)
        case .tick: []
        }
    }

    private mutating func note(kept slices: Set<SliceName>) -> [Action] {
        kept = slices
        return []
    }

    private mutating func note(past: UInt64) -> [Action] {
        self.past = past
        return releaseTransfers()
    }

    private mutating func noteMovement(_ worker: MemberID) -> [Action] {
        notice(worker)
        return []
    }

    /// The coordinator is asked for its plan, a few times a second at most: a stranger's words must cost nothing.
    private mutating func askForPlan() -> [Action] {
        guard nextAsk <= clock else { return [] }
        nextAsk = clock + .milliseconds(250)
        return [.askForPlan]
    }

    // MARK: Commit and rollback

    /// The step that is applied or being computed.
    var isStepInFlight: Bool { attempt != nil || restored != nil }

    /// Commits what is prepared if the plan says that this attempt is the committed one. Of another attempt of the step nothing is made
    /// final: the coordinator has heard of it in the hello, and has everyone go back.
    mutating func learnCommitted(_ plan: Plan) -> [Action] {
        guard let prepared, plan.isCommitted(prepared) else { return [] }
        committed = prepared.step
        attempt = nil
        restored = nil
        transfersThisStep = 0
        return [.compute(prepared, .commit)]
    }

    /// Leaves every older attempt behind. Sound because the coordinator never commits an attempt after it has begun a later one.
    mutating func adopt(_ id: StepID) -> [Action] {
        current = id
        announcedAt = clock
        return undo()
    }

    /// Drops whatever step is in flight.
    mutating func undo() -> [Action] {
        defer { (attempt, restored) = (nil, nil) }
        if let restored { return [.compute(restored, .rollback)] }
        guard let attempt, attempt.sample != .idle else { return [] }
        return [.compute(attempt.id, .rollback)]
    }

    // MARK: Requests

    private func reply(
        _ request: StepRequest<Payload>, _ peer: Peer, _ outcome: StepReply<Payload>.Outcome
    ) -> Action {
        let reply = StepReply(
            id: request.id, rank: request.rank, phase: request.phase, part: request.part, outcome: outcome)
        return .reply(peer, reply)
    }

    private func malformation(of request: StepRequest<Payload>) -> String? {
        if !(1...maximumWorldSize).contains(request.worldSize) {
            return "world size \(request.worldSize) is not in 1...\(maximumWorldSize)"
        }
        if !(0..<request.worldSize).contains(request.rank) {
            return "rank \(request.rank) is not in 0..<\(request.worldSize)"
        }
        if request.id.step < 0 || request.id.attempt < 0 { return "\(request.id) does not exist" }
        if request.committed != request.id.step - 1 {
            return "\(request.id) cannot follow committed step \(request.committed)"
        }
        let range = request.microBatches
        if range.lowerBound < 0 || range.upperBound > microBatchCount {
            return "micro-batches \(range) are not in 0..<\(microBatchCount)"
        }
        if let part = request.part, request.phase != .forward || request.exchange != .features {
            return "\(request.phase) with exchange \(request.exchange) has no parts, and \(part) is one"
        }
        return nil
    }

    /// `current` in replies that are not about it: at least the next step of this term.
    private var announced: StepID {
        max(current, StepID(term: plan?.id.term ?? 0, step: max(committed, -1) + 1, attempt: 0))
    }

    /// A shard takes part in nothing but the attempt that its own plan announces, and only with the ranks of that plan.
    private mutating func receive(
        _ request: StepRequest<Payload>, from peer: Peer, _ sender: StepSender?
    ) -> [Action] {
        if let message = malformation(of: request) {
            return [reply(request, peer, .refused(code: .malformed, message: message))]
        }
        let notReady = reply(request, peer, .notReady(current: announced, committed: committed))
        // Only the plan tells what a new term begins with.
        guard let plan, request.id.term <= plan.id.term else { return [notReady] + askForPlan() }
        if request.id < current || request.id.term < plan.id.term || request.id.step <= committed {
            return [reply(request, peer, .stale(current: announced, committed: committed))]
        }
        guard runningTask == nil, ownsSlices, let mapVersion, request.mapVersion <= mapVersion else {
            return [notReady] + (request.id > plan.id ? askForPlan() : [])
        }
        if request.mapVersion < mapVersion {
            let message = "slice map \(request.mapVersion) is not in use any more; the shard has \(mapVersion)"
            return [reply(request, peer, .refused(code: .mapVersion, message: message))]
        }
        guard plan.announces(request) else { return [notReady] + askForPlan() }
        if let objection = plan.objection(to: request, from: sender) {
            return [reply(request, peer, .refused(code: objection.code, message: objection.message))]
        }
        let isHeadOnly = plan.job != nil
        if isHeadOnly, [.parameters, .dense, .update].contains(request.phase) {
            let message =
                "\(request.phase) of \(request.id): the shards of this run hold no backbone, a step ends with backward"
            return [reply(request, peer, .refused(code: .malformed, message: message))]
        }
        if request.query != .none, attempt == nil, request.phase <= .begin {
            return [reply(request, peer, .missing)]
        }
        if request.id != current || request.id.step != committed + 1 || request.id == restored
            || (request.phase > .begin && attempt == nil)
        {
            return [notReady]
        }
        var attempt = attempt ?? ShardAttempt(request, isHeadOnly: isHeadOnly, head: plan.head, at: clock)
        if let failure = attempt.failure {
            return [reply(request, peer, .refused(code: failure.code, message: failure.message))]
        }
        if let message = attempt.disagreement(with: request) {
            return [reply(request, peer, .refused(code: .malformed, message: message))]
        }
        self.attempt = nil  // the local copy is the only one: it is changed in place
        defer { self.attempt = attempt }
        return apply(request, from: peer, to: &attempt)
    }

    /// A request of the current attempt.
    private func apply(
        _ request: StepRequest<Payload>, from peer: Peer, to attempt: inout ShardAttempt<Peer, Payload>
    ) -> [Action] {
        if request.query != .none, let outcome = attempt.answer(to: request, from: peer, empty) {
            return [reply(request, peer, outcome)]
        }
        let rank = request.rank
        let isNew = !attempt.ranks[rank].seen.contains(request.phase)
        if isNew { attempt.ranks[rank].lastHeard = clock }
        let stale = StepReply<Payload>.Outcome.stale(current: current, committed: committed)
        let notReady = StepReply<Payload>.Outcome.notReady(current: announced, committed: committed)

        switch request.phase {
        case .parameters:
            // Once the update runs every rank has its parameters: this is an old repetition.
            if attempt.update != .idle { return [reply(request, peer, stale)] }
            attempt.ranks[rank].seen.insert(.parameters)
            let isRunning = attempt.ranks[rank].waiting.updateValue(peer, forKey: .parameters) != nil
            return isRunning ? [] : [.compute(attempt.id, .parameters(rank: rank))]

        case .begin:
            if let payload = attempt.sampleReply { return [reply(request, peer, .done(payload))] }
            attempt.ranks[rank].waiting[.begin] = peer
            guard isNew else { return [] }
            attempt.ranks[rank].seen.insert(.begin)
            attempt.ranks[rank].microBatches = request.microBatches
            attempt.ranks[rank].labels = request.payload
            return attempt.startSampling(microBatchCount: microBatchCount)

        case .forward:
            guard attempt.sample == .done else { return [reply(request, peer, notReady)] }
            if attempt.ranks[rank].seen.contains(.backward) { return [reply(request, peer, stale)] }
            let parts = attempt.ranks[rank].forward
            if parts.isLast(request.features) {
                if let payload = parts.reply { return [reply(request, peer, .done(payload))] }
                attempt.ranks[rank].waiting[.forward] = peer
                return []
            }
            if parts.contains(request.features) { return [reply(request, peer, stale)] }
            if let message = parts.objection(to: request) {
                return [reply(request, peer, .refused(code: .malformed, message: message))]
            }
            attempt.ranks[rank].waiting[.forward] = peer
            attempt.ranks[rank].lastHeard = clock
            attempt.ranks[rank].forward.append(request)
            if request.features.upperBound == request.microBatches.upperBound {
                attempt.ranks[rank].seen.insert(.forward)
            }
            let computation = ShardComputation.forward(
                rank: rank, microBatches: request.features, payload: request.payload)
            return [.compute(attempt.id, computation)]

        case .backward:
            if let message = attempt.gap(beforeBackwardOf: rank) {
                return [reply(request, peer, .refused(code: .malformed, message: message))]
            }
            guard attempt.hasForward(rank) else { return [reply(request, peer, notReady)] }
            var actions: [Action] = []
            if !attempt.isHeadOnly || attempt.updateReply != nil {
                actions = [reply(request, peer, .done(empty))]
            } else {
                attempt.ranks[rank].waiting[.backward] = peer
            }
            if isNew {
                attempt.ranks[rank].seen.insert(.backward)
                attempt.ranks[rank].forward.reply = nil  // the worker has it
                attempt.ranks[rank].backward = request.payload
                actions += attempt.startBackward()
            }
            return actions

        case .dense:
            guard attempt.hasForward(rank) else { return [reply(request, peer, notReady)] }
            if let payload = attempt.denseReply { return [reply(request, peer, .done(payload))] }
            attempt.ranks[rank].waiting[.dense] = peer
            guard isNew else { return [] }
            attempt.ranks[rank].seen.insert(.dense)
            attempt.ranks[rank].dense = request.payload
            return attempt.startDense()

        case .update:
            guard attempt.denseReply != nil else { return [reply(request, peer, notReady)] }
            if let payload = attempt.updateReply { return [reply(request, peer, .done(payload))] }
            attempt.ranks[rank].waiting[.update] = peer
            if attempt.update == .idle && attempt.updateInput == nil { attempt.updateInput = request.payload }
            return attempt.startUpdate()
        }
    }

    // MARK: Computations

    private mutating func complete(_ id: StepID, _ result: ShardResult<Payload>) -> [Action] {
        guard var attempt, attempt.id == id, attempt.failure == nil else { return [] }
        self.attempt = nil
        defer { self.attempt = attempt }
        switch result {
        case .parameters(let rank, let payload):
            // A result that is not of this attempt after all, whose id another coordinator has given twice, is of no use.
            guard attempt.ranks.indices.contains(rank) else { return [] }
            return attempt.answer([rank], .parameters, .done(payload))
        case .sample(let payload):
            attempt.sample = .done
            attempt.sampleReply = payload
            for rank in attempt.ranks.indices { attempt.ranks[rank].labels = nil }
            return attempt.answer(attempt.ranks.indices, .begin, .done(payload))
        case .forward(let rank, let payload):
            guard attempt.ranks.indices.contains(rank) else { return [] }
            attempt.ranks[rank].forward.reply = payload
            if attempt.exchange == .rows { attempt.ranks[rank].forward.dropPayloads(leaving: empty) }
            return attempt.answer([rank], .forward, .done(payload))
        case .backward:
            attempt.backward = .done
            if attempt.isHeadOnly { (attempt.dense, attempt.updateInput) = (.done, empty) }
            return attempt.startUpdate()
        case .dense(let payload):
            attempt.dense = .done
            attempt.denseReply = payload
            return attempt.answer(attempt.ranks.indices, .dense, .done(payload))
        case .update(let payload):
            attempt.update = .done
            attempt.updateReply = payload
            let last: (StepPhase, Payload) = attempt.isHeadOnly ? (.backward, empty) : (.update, payload)
            return [.prepared(id)] + attempt.answer(attempt.ranks.indices, last.0, .done(last.1))
        }
    }

    private mutating func fail(
        _ id: StepID, _ task: ShardTask, _ code: RefusalCode, _ message: String, _ ranks: [Int]
    ) -> [Action] {
        guard attempt?.id == id, attempt?.failure == nil else { return [] }
        if case .parameters(let rank) = task {
            guard attempt?.ranks.indices.contains(rank) == true else { return [] }
            return attempt?.answer([rank], .parameters, .refused(code: code, message: message)) ?? []
        }
        var blamed = ranks
        if case .forward(let rank) = task { blamed = [rank] }
        return attempt?.fail(code, message, blaming: blamed) ?? []
    }
}
