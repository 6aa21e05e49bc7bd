public import Cluster

/// The receiving side of a move: copies slices from their owners while training goes on, and catches up with their logs.
///
/// The chunks of a slice are each as of some committed step of the owner, not all of the same. When the last one is
/// stored, the owner's log is replayed from the oldest chunk's step on, one record at a time. So a copy is never behind by
/// more than it takes to replay the records that were written meanwhile, and the last ones are replayed at the boundary at
/// which the slice is handed over.
///
/// A value without I/O or clock; it never looks into a payload. The shell executes what it asks for strictly in order,
/// on the thread that also executes the shard's computations.
public struct SliceReceiver<Payload: Sendable>: Sendable {
    public let member: MemberID
    /// Requests that are under way and payloads that are being stored at most, over all slices.
    let window: Int
    let retryInterval: Duration
    let pollInterval: Duration
    private var plan: Plan?
    private var copies: [SliceName: SliceCopy] = [:]
    /// The last hand-over that was said to be complete, and the last restore that was seen.
    private var completedTask = 0
    private var restoredTask = 0
    /// Complete copies of that hand-over, which stay until the map gives the slices to this shard, or the hand-over is
    /// called off. Those that are from before a restart are not in `copies`.
    private var handedOver: Set<SliceName>

    /// - Parameters:
    ///   - completedTask: the last hand-over whose copies the shell holds durably, from before a restart; 0 for none.
    ///   - handedOver: the slices that the shell holds complete, durable copies of and does not own yet.
    ///   - window: chunks and records that may be on their way or being stored.
    ///   - retryInterval: a request without an answer is repeated, and a copy that failed begun anew, after this.
    ///   - pollInterval: an owner that has not committed what the plan says is asked again after this.
    public init(
        member: MemberID, completedTask: Int = 0, handedOver: Set<SliceName> = [], window: Int = 4,
        retryInterval: Duration = .seconds(2),
        pollInterval: Duration = .milliseconds(50)
    ) {
        self.member = member
        self.completedTask = completedTask
        self.handedOver = handedOver
        self.window = max(1, window)
        self.retryInterval = retryInterval
        self.pollInterval = pollInterval
    }

    /// The step that each complete copy is as of.
    public var received: [SliceName: Int] { copies.compactMapValues { $0.completeStep } }

    /// Chunks stored and chunks there are, of each slice that is being copied; for the operator.
    public var progress: [SliceName: (stored: Int, count: Int)] {
        copies.mapValues { ($0.storedChunks, $0.chunkCount ?? 0) }
    }

    /// Requests under way and payloads being stored, for limits and tests.
    public var inFlightCount: Int { copies.values.reduce(0) { $0 + $1.outstanding.count } }

    /// When the machine wants a `.tick`.
    public var nextDeadline: Duration? { copies.values.compactMap { $0.nextDeadline }.min() }

    /// Takes an event and returns what the shell must do, in order.
    public mutating func handle(_ event: Event, at now: Duration) -> [Action] {
        var actions: [Action] = []
        switch event {
        case .plan(let plan): actions = follow(plan)
        case .reply(to: let request, let reply): actions = receive(reply, to: request, now)
        case .stored(let slice, let part):
            if copies[slice]?.outstanding[part] == .storing { copies[slice]?.stored(part) }
        case .failed(let slice, _): actions = restart(slice, at: now + retryInterval)
        case .unreachable(let owner):
            for slice in copies.keys where copies[slice]?.owner == owner {
                copies[slice]?.repeatAll(at: now + retryInterval)
            }
        case .moving(let owner):
            for slice in copies.keys where copies[slice]?.owner == owner {
                copies[slice]?.postpone(to: now + retryInterval)
            }
        case .tick: break
        }
        return actions + ask(now) + complete()
    }

    // MARK: Plans

    private mutating func follow(_ new: Plan) -> [Action] {
        if let plan, !new.supersedes(plan) { return [] }
        let isNewMap = plan.map { $0.mapVersion != new.mapVersion } ?? false
        plan = new
        // A coordinator that was restarted says that it waits before it goes on with the hand-over.
        var mayStillHandOver = false
        switch new.activity {
        case .wait: mayStillHandOver = true
        case .task(let task):
            switch task.kind {
            case .handOver: mayStillHandOver = task.number == completedTask
            case .restore where task.number > restoredTask:
                restoredTask = task.number
                let drops = dropAll()
                begin(new)
                return drops
            default: break
            }
        case .train, .finishing, .finished, .failed: break
        }
        var actions: [Action] = []
        let mine = new.shards.first { $0.shard == member }
        for slice in Set(copies.keys).union(handedOver).sorted() {
            let isHandedOver = handedOver.contains(slice)
            let copy = copies[slice]
            let isCurrent = copy.map { $0.term == new.id.term && $0.classVersion == new.classVersion } ?? false
            if mine.map({ (slice.isDense ? $0.denseSlices : $0.slices).contains(slice.number) }) == true {
                forget(slice)  // the shard takes the copy over when it adopts the map
            } else if !new.moves.contains(where: {
                $0.slice == slice && $0.to == member && $0.from == copy?.owner ?? $0.from
            }) || !isCurrent && !(isHandedOver && mayStillHandOver) {
                // In a new term the cluster may have gone back behind what was copied. When the classes change, moves are
                // put off; a receiver that did not hear of that must not keep rows from before.
                forget(slice)
                actions.append(.drop(slice))
            } else if isCurrent {
                if !mayStillHandOver { handedOver.remove(slice) }  // it was called off: the copy goes on
                if isNewMap { copies[slice]?.repeatAll(at: .zero) }  // owners ignore what was asked under the old one
            }
        }
        begin(new)
        return actions
    }

    private mutating func begin(_ plan: Plan) {
        for move in plan.moves
        where move.to == member && copies[move.slice] == nil && !handedOver.contains(move.slice) {
            copies[move.slice] = SliceCopy(owner: move.from, plan)
        }
    }

    private mutating func forget(_ slice: SliceName) {
        copies[slice] = nil
        handedOver.remove(slice)
    }

    /// Gives up everything that was copied: it was for a shard of another number.
    mutating func dropAll() -> [Action] {
        defer { (copies, handedOver) = ([:], []) }
        return Set(copies.keys).union(handedOver).sorted().map { .drop($0) }
    }

    private mutating func restart(_ slice: SliceName, at time: Duration) -> [Action] {
        guard let plan, let copy = copies[slice] else { return [] }
        handedOver.remove(slice)
        copies[slice] = SliceCopy(owner: copy.owner, plan, pausedUntil: time)
        return [.drop(slice)]
    }

    // MARK: Asking

    private mutating func ask(_ now: Duration) -> [Action] {
        guard let plan else { return [] }
        var actions: [Action] = []
        var free = window - inFlightCount
        for slice in copies.keys.sorted() {
            guard var copy = copies[slice], copy.term == plan.id.term else { continue }
            var parts = copy.overdue(now)
            while free > 0, copy.pausedUntil == nil, let part = copy.nextPart(committed: plan.committed) {
                copy.outstanding[part] = .asked(next: now)
                parts.append(part)
                free -= 1
            }
            for part in parts {
                copy.outstanding[part] = .asked(next: now + retryInterval)
                let request = TransferRequest(slice: slice, term: plan.id.term, mapVersion: plan.mapVersion, part: part)
                actions.append(.ask(copy.owner, request))
            }
            copies[slice] = copy
        }
        return actions
    }

    // MARK: Answers

    private mutating func receive(
        _ reply: TransferReply<Payload>, to request: TransferRequest, _ now: Duration
    ) -> [Action] {
        let (slice, part) = (reply.slice, reply.part)
        guard let copy = copies[slice], request.term == copy.term, request.mapVersion >= copy.firstMap,
            request.slice == slice, request.part == part,
            case .asked? = copy.outstanding[part]
        else { return [] }
        switch (part, reply.content) {
        case (.chunk(let index), .chunk(let count, let step, let payload)):
            guard index < count, copies[slice]?.take(count: count, step: step) == true else {
                return restart(slice, at: now + retryInterval)
            }
            copies[slice]?.outstanding[part] = .storing
            return [.storeChunk(slice, index: index, count: count, step: step, payload)]
        case (.record(let after), .record(let step, let header, let payload)):
            guard step > after else { return restart(slice, at: now + retryInterval) }
            copies[slice]?.outstanding[part] = .storing
            copies[slice]?.replaying = step
            return [.replay(slice, after: after, step: step, header: header, payload)]
        case (.record, .upToDate):
            copies[slice]?.outstanding[part] = nil
            copies[slice]?.pausedUntil = now + pollInterval
            return []
        default: return restart(slice, at: now + retryInterval)
        }
    }

    // MARK: Handing over

    /// Says once that everything that the current task hands over to this shard is there.
    private mutating func complete() -> [Action] {
        guard case .task(let task)? = plan?.activity, case .handOver(let moves) = task.kind,
            task.number > completedTask
        else { return [] }
        let mine = moves.filter { $0.to == member }
        guard !mine.isEmpty, mine.allSatisfy({ copies[$0.slice]?.completeStep == task.step }) else { return [] }
        completedTask = task.number
        handedOver = Set(mine.map(\.slice))
        return [.complete(task: task.number)]
    }
}

extension SliceReceiver {
    /// What happens to a receiver.
    public enum Event: Sendable {
        /// The coordinator's plan, in any order and any number of times.
        case plan(Plan)
        /// An owner's answer, and the request that it answers: one that was asked in another term is worth nothing.
        case reply(to: TransferRequest, TransferReply<Payload>)
        /// The shell has stored a chunk, or replayed the record after a step.
        case stored(SliceName, TransferRequest.Part)
        /// What was received could not be stored or replayed: the copy begins anew.
        case failed(SliceName, message: String)
        /// The connection to an owner was lost: what was asked is asked again.
        case unreachable(MemberID)
        /// Bytes of an owner's answers come in: what was asked is not asked again meanwhile.
        case moving(MemberID)
        /// `nextDeadline` has passed.
        case tick
    }

    /// What the shell must do, in this order.
    public enum Action: Sendable {
        /// Ask the owner.
        case ask(MemberID, TransferRequest)
        /// Store piece `index` of `count`, which is as it was after `step`, then tell `.stored`.
        case storeChunk(SliceName, index: Int, count: Int, step: Int, Payload)
        /// Replay the record of `step` on the rows whose chunk is as of an earlier step, then tell `.stored` with the record after `after`.
        case replay(SliceName, after: Int, step: Int, header: String, Payload)
        /// Drop what was stored of the slice: the move was called off, or the copy begins anew.
        case drop(SliceName)
        /// The copies that this task hands over are complete up to its step: tell the `ShardMachine` with
        /// `.copiesComplete`, which then has the task executed, and that makes them durable.
        case complete(task: Int)
    }
}
