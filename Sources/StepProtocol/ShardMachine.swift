/// The shard's side of the step protocol: collects every rank's part of a step, answers each request once computed,
/// and keeps the update undoable until the step is committed.
///
/// A value without I/O or clock. The shell feeds it events and executes its actions; it never looks into a payload.
/// The rules are in docs/step-protocol.md.
public struct ShardMachine<Peer: Hashable & Sendable, Payload: Sendable>: Sendable {
    /// The last committed step, -1 before the first.
    public private(set) var committed: Int
    /// The newest step or attempt that the shard has heard of; everything before it is stale.
    public private(set) var current: StepID
    /// The version of the slice map that the shard was assigned, nil before the first plan.
    public private(set) var mapVersion: Int?

    private let microBatchCount: Int
    private let maximumWorldSize: Int
    private let empty: Payload
    private var attempt: ShardAttempt<Peer, Payload>?

    /// - Parameters:
    ///   - microBatchCount: micro-batches M in the global batch; the ranks of a step must cover 0..<M.
    ///   - committed: the step whose state the shard holds, -1 for a new one.
    ///   - maximumWorldSize: requests that claim more ranks are refused.
    ///   - empty: the payload of an answer that carries nothing (`backward`).
    public init(microBatchCount: Int, committed: Int = -1, maximumWorldSize: Int = Plan.memberLimit, empty: Payload) {
        self.microBatchCount = microBatchCount
        self.committed = committed
        self.maximumWorldSize = maximumWorldSize
        self.empty = empty
        current = StepID(step: committed, attempt: 0)
    }

    /// When the machine wants a `.tick`: never, a shard only reacts.
    public var nextDeadline: Duration? { nil }

    /// The step that is applied and waits for the coordinator's word, or nil.
    public var prepared: StepID? { attempt.flatMap { $0.isPrepared ? $0.id : nil } }

    /// Payloads held, for limits and tests: at most five per rank and four.
    public var payloadCount: Int { attempt?.payloadCount ?? 0 }

    /// Takes an event and returns what the shell must do, in order.
    public mutating func handle(_ event: Event, at now: Duration) -> [Action] {
        switch event {
        case .request(let peer, let request): receive(request, from: peer)
        case .computed(let id, let result): complete(id, result)
        case .failed(let id, let task, let code, let message): fail(id, task, code, message)
        case .committed(let step): learn(committed: step)
        case .plan(let plan): follow(plan)
        case .tick: []
        }
    }

    // MARK: Commit and rollback

    private mutating func learn(committed step: Int) -> [Action] {
        guard let attempt, attempt.isPrepared, attempt.id.step == step else { return [] }
        committed = step
        self.attempt = nil
        return [.compute(attempt.id, .commit)]
    }

    /// Leaves every older attempt behind. Sound because the coordinator never commits an attempt after it has begun a later one.
    private mutating func adopt(_ id: StepID) -> [Action] {
        let old = attempt
        current = id
        attempt = nil
        guard let old, old.sample != .idle else { return [] }
        return [.compute(old.id, .rollback)]
    }

    private mutating func follow(_ plan: Plan) -> [Action] {
        mapVersion = max(mapVersion ?? plan.mapVersion, plan.mapVersion)
        var actions = learn(committed: plan.committed)
        if plan.id > current && plan.id.step == committed + 1 && plan.committed == committed {
            actions += adopt(plan.id)
        }
        return actions
    }

    // MARK: Requests

    private func reply(
        _ request: StepRequest<Payload>, _ peer: Peer, _ outcome: StepReply<Payload>.Outcome
    ) -> Action {
        .reply(peer, StepReply(id: request.id, rank: request.rank, phase: request.phase, outcome: outcome))
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
        return nil
    }

    /// `current` in replies that are not about it: a shard that has heard of no step yet names the first.
    private var announced: StepID { max(current, StepID(step: 0, attempt: 0)) }

    private mutating func receive(_ request: StepRequest<Payload>, from peer: Peer) -> [Action] {
        if let message = malformation(of: request) {
            return [reply(request, peer, .refused(code: .malformed, message: message))]
        }
        if request.id < current || request.id.step <= committed {
            return [reply(request, peer, .stale(current: current, committed: committed))]
        }
        guard let mapVersion, request.mapVersion <= mapVersion else {
            return [reply(request, peer, .notReady(current: announced, committed: committed))]
        }
        if request.mapVersion < mapVersion {
            let message = "slice map \(request.mapVersion) is not in use any more; the shard has \(mapVersion)"
            return [reply(request, peer, .refused(code: .mapVersion, message: message))]
        }
        var actions = learn(committed: request.committed)
        if request.id.step != committed + 1 || (request.phase > .begin && (attempt == nil || request.id > current)) {
            return actions + [reply(request, peer, .notReady(current: announced, committed: committed))]
        }
        if request.id > current { actions += adopt(request.id) }
        var attempt = attempt ?? ShardAttempt(request)
        if let failure = attempt.failure {
            return actions + [reply(request, peer, .refused(code: failure.code, message: failure.message))]
        }
        if let message = attempt.disagreement(with: request) {
            return actions + [reply(request, peer, .refused(code: .malformed, message: message))]
        }
        self.attempt = nil  // the local copy is the only one: it is changed in place
        actions += apply(request, from: peer, to: &attempt)
        self.attempt = attempt
        return actions
    }

    /// A request of the current attempt.
    private func apply(
        _ request: StepRequest<Payload>, from peer: Peer, to attempt: inout ShardAttempt<Peer, Payload>
    ) -> [Action] {
        let rank = request.rank
        let isNew = !attempt.ranks[rank].seen.contains(request.phase)
        let stale = StepReply<Payload>.Outcome.stale(current: current, committed: committed)
        let notReady = StepReply<Payload>.Outcome.notReady(current: announced, committed: committed)

        switch request.phase {
        case .parameters:
            // Once the update runs every rank has its parameters: this is an old repetition.
            if attempt.update != .idle { return [reply(request, peer, stale)] }
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
            if let payload = attempt.ranks[rank].forwardReply { return [reply(request, peer, .done(payload))] }
            attempt.ranks[rank].waiting[.forward] = peer
            guard isNew else { return [] }
            attempt.ranks[rank].seen.insert(.forward)
            attempt.ranks[rank].forward = request.payload
            return [.compute(attempt.id, .forward(rank: rank, payload: request.payload))]

        case .backward:
            guard attempt.hasForward(rank) else { return [reply(request, peer, notReady)] }
            var actions = [reply(request, peer, .done(empty))]
            if isNew {
                attempt.ranks[rank].seen.insert(.backward)
                attempt.ranks[rank].forwardReply = nil  // the worker has it
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
            return attempt.answer([rank], .parameters, .done(payload))
        case .sample(let payload):
            attempt.sample = .done
            attempt.sampleReply = payload
            for rank in attempt.ranks.indices { attempt.ranks[rank].labels = nil }
            return attempt.answer(attempt.ranks.indices, .begin, .done(payload))
        case .forward(let rank, let payload):
            attempt.ranks[rank].forwardReply = payload
            if attempt.exchange == .rows { attempt.ranks[rank].forward = empty }
            return attempt.answer([rank], .forward, .done(payload))
        case .backward:
            attempt.backward = .done
            return attempt.startUpdate()
        case .dense(let payload):
            attempt.dense = .done
            attempt.denseReply = payload
            return attempt.answer(attempt.ranks.indices, .dense, .done(payload))
        case .update(let payload):
            attempt.update = .done
            attempt.updateReply = payload
            return attempt.answer(attempt.ranks.indices, .update, .done(payload))
        }
    }

    private mutating func fail(_ id: StepID, _ task: ShardTask, _ code: RefusalCode, _ message: String) -> [Action] {
        guard attempt?.id == id, attempt?.failure == nil else { return [] }
        if case .parameters(let rank) = task {
            return attempt?.answer([rank], .parameters, .refused(code: code, message: message)) ?? []
        }
        return attempt?.fail(code, message) ?? []
    }
}
