public import Cluster

/// Second copies of the slices of other shards, kept on disk for the case that their owners are lost.
///
/// Every shard logs the inputs of every step, which change any slice: a copy needs nothing but the slice as it once was, and a log that
/// reaches back to then. The pieces of a copy may be as of different steps, as those of a snapshot are. A copy counts once the cluster
/// does not go back behind its newest piece any more. When the shard's own slices have newer snapshots, copies are made anew, so that the
/// log can be dropped.
///
/// One slice is copied at a time. The next ones are begun while the copies before them wait until they may count. A value without I/O or
/// clock; it never looks into a payload.
public struct SliceKeeper<Payload: Sendable>: Sendable {
    public let member: MemberID
    private let window: Int
    private let retryInterval: Duration
    private var plan: Plan?
    /// The slices to keep copies of by the map of the plan, and their owners, ascending.
    private var wanted: [(slice: SliceName, owner: MemberID)] = []
    /// The copies that count.
    public private(set) var kept: [SliceName: KeptCopy]
    /// The slice whose pieces are being fetched.
    private var current: (slice: SliceName, copy: SliceCopy)?
    /// Copies with all of their pieces, oldest first, that wait until they may count or are being installed.
    private var complete: [(slice: SliceName, copy: SliceCopy, isInstalling: Bool)] = []
    /// The oldest step that the snapshots of the shard's own slices are of.
    private var oldestOwn = -1
    /// The last return to a checkpoint that was seen.
    private var restoredTask: Int
    /// No copy is begun before this, after one failed.
    private var pausedUntil: Duration?

    /// Complete copies that may wait: each takes as much of the disk as the one that it replaces.
    private static var waitingLimit: Int { 8 }

    /// - Parameters:
    ///   - kept: what the directory holds.
    ///   - window: chunks that may be on their way or being stored.
    ///   - retryInterval: a request without an answer is repeated, and a copy that failed begun anew, after this.
    public init(
        member: MemberID, kept: [SliceName: KeptCopy] = [:], lastTask: Int = 0, window: Int = 4,
        retryInterval: Duration = .seconds(2)
    ) {
        self.member = member
        self.kept = kept
        self.window = max(1, window)
        self.retryInterval = retryInterval
        restoredTask = lastTask
    }

    /// Requests under way and payloads being stored, for limits and tests.
    public var inFlightCount: Int { current?.copy.outstanding.count ?? 0 }

    /// The copies that fit the classes of the newest plan, and the step from which the log makes each current.
    public var reported: [SliceName: Int] {
        guard let plan else { return [:] }
        return kept.filter { $0.value.classVersion == plan.classVersion }.mapValues(\.oldest)
    }

    /// When the machine wants a `.tick`.
    public var nextDeadline: Duration? {
        let deadline = current?.copy.nextDeadline
        guard let pausedUntil, next != nil else { return deadline }
        return min(deadline ?? pausedUntil, pausedUntil)
    }

    /// Takes an event and returns what the shell must do, in order.
    public mutating func handle(_ event: Event, at now: Duration) -> [Action] {
        var actions: [Action] = []
        switch event {
        case .plan(let plan): actions = follow(plan)
        case .snapshots(oldestOwn): return []
        case .snapshots(let oldest): oldestOwn = oldest
        case .reply(to: let request, let reply): actions = receive(reply, to: request, now)
        case .stored(let slice, let index):
            guard current?.slice == slice, current?.copy.outstanding[.chunk(index)] == .storing else { break }
            current?.copy.stored(.chunk(index))
            if let copy = current?.copy, copy.hasEveryChunk {
                complete.append((slice, copy, false))
                current = nil
            }
        case .installed(let slice):
            guard let index = complete.firstIndex(where: { $0.slice == slice && $0.isInstalling }) else { break }
            let copy = complete.remove(at: index).copy
            kept[slice] = KeptCopy(oldest: copy.oldest, newest: copy.newest, classVersion: copy.classVersion)
        case .failed(let slice):
            actions = discard { name, _ in name == slice }
            if !actions.isEmpty { pausedUntil = now + retryInterval }
        case .unreachable(let owner):
            if current?.copy.owner == owner { current?.copy.repeatAll(at: now + retryInterval) }
        case .moving(let owner):
            if current?.copy.owner == owner { current?.copy.postpone(to: now + retryInterval) }
        case .holds(let owned, let copies): kept = kept.filter { copies.contains($0.key) && !owned.contains($0.key) }
        case .tick: break
        }
        if let pausedUntil, pausedUntil <= now { self.pausedUntil = nil }
        return actions + goOn(now)
    }

    // MARK: Plans

    private mutating func follow(_ new: Plan) -> [Action] {
        if let plan, !new.supersedes(plan) { return [] }
        let isNewMap = plan.map { $0.mapVersion != new.mapVersion } ?? false
        let isOther =
            plan.map { ($0.id.term, $0.mapVersion, $0.classVersion) != (new.id.term, new.mapVersion, new.classVersion) }
            ?? true
        plan = new
        var actions: [Action] = []
        if case .task(let task) = new.activity, case .restore(let checkpoint) = task.kind, task.number > restoredTask {
            restoredTask = task.number
            actions += discard { _, _ in true }
            // Loading a checkpoint leaves nothing of what was before.
            if checkpoint != nil { kept = [:] }
        }
        // Plans come several times in a step, and say the same of copies.
        guard isOther else { return actions }
        let mine = new.shards.first { $0.shard == member }
        let names = mine?.keptNames ?? []
        let wanted = names.sorted().compactMap { slice in
            new.owner(of: slice).flatMap { $0 == member ? nil : (slice: slice, owner: $0) }
        }
        self.wanted = wanted
        // In a new term the cluster may have gone back behind what was copied.
        actions += discard { slice, copy in
            !wanted.contains { $0 == (slice, copy.owner) } || copy.term != new.id.term
                || copy.classVersion != new.classVersion
        }
        if isNewMap { current?.copy.repeatAll(at: .zero) }
        for (slice, copy) in kept.sorted(by: { $0.key < $1.key }) {
            // What the map gives to this shard is taken over when it adopts the map (`holds`).
            if mine?.names.contains(slice) == true { continue }
            if !names.contains(slice) || copy.classVersion != new.classVersion {
                kept[slice] = nil
                actions.append(.drop(slice))
            }
        }
        return actions
    }

    /// Gives up the copies that are being made and that `isLost` names.
    private mutating func discard(_ isLost: (SliceName, SliceCopy) -> Bool) -> [Action] {
        var lost = complete.filter { isLost($0.slice, $0.copy) }.map(\.slice)
        complete.removeAll { isLost($0.slice, $0.copy) }
        if let (slice, copy) = current, isLost(slice, copy) {
            current = nil
            lost.append(slice)
        }
        return lost.map { .discard($0) }
    }

    /// The slice to copy next: one without a copy, or else the oldest copy that keeps the log from being dropped.
    private var next: (slice: SliceName, owner: MemberID)? {
        guard current == nil, complete.count < Self.waitingLimit, let plan else { return nil }
        switch plan.activity {
        case .failed: return nil
        case .task(let task): if case .restore = task.kind { return nil }
        case .train, .wait, .finishing, .finished: break
        }
        let rest = wanted.filter { wanted in !complete.contains { $0.slice == wanted.slice } }
        if let missing = rest.first(where: { kept[$0.slice] == nil }) { return missing }
        let oldest = rest.min { (kept[$0.slice]?.oldest ?? 0, $0.slice) < (kept[$1.slice]?.oldest ?? 0, $1.slice) }
        return oldest.flatMap { kept[$0.slice]?.oldest ?? 0 < oldestOwn ? $0 : nil }
    }

    // MARK: Copying

    private mutating func goOn(_ now: Duration) -> [Action] {
        guard let plan else { return [] }
        var actions: [Action] = []
        // Nobody goes back behind them any more.
        for index in complete.indices where !complete[index].isInstalling && complete[index].copy.newest <= plan.safe {
            complete[index].isInstalling = true
            actions.append(.install(complete[index].slice))
        }
        if pausedUntil == nil, let (slice, owner) = next { current = (slice, SliceCopy(owner: owner, plan)) }
        guard let (slice, _) = current, var copy = current?.copy else { return actions }
        var parts = copy.overdue(now)
        while copy.outstanding.count < window, let part = copy.nextPart(committed: plan.committed) {
            copy.outstanding[part] = .asked(next: now)
            parts.append(part)
        }
        for part in parts {
            copy.outstanding[part] = .asked(next: now + retryInterval)
            let request = TransferRequest(slice: slice, term: plan.id.term, mapVersion: plan.mapVersion, part: part)
            actions.append(.ask(copy.owner, request))
        }
        current?.copy = copy
        return actions
    }

    private mutating func receive(
        _ reply: TransferReply<Payload>, to request: TransferRequest, _ now: Duration
    ) -> [Action] {
        guard let (slice, copy) = current, request.slice == slice, request.term == copy.term,
            request.mapVersion >= copy.firstMap, reply.slice == slice, reply.part == request.part,
            case .chunk(let index) = reply.part, case .asked? = copy.outstanding[reply.part]
        else { return [] }
        guard case .chunk(let count, let step, let payload) = reply.content, index < count,
            current?.copy.take(count: count, step: step) == true
        else {
            pausedUntil = now + retryInterval
            return discard { name, _ in name == slice }
        }
        current?.copy.outstanding[reply.part] = .storing
        return [.storeChunk(slice, index: index, count: count, step: step, payload)]
    }
}

/// A second copy of another shard's slice that counts.
public struct KeptCopy: Sendable, Hashable, Codable {
    /// The oldest and the newest step that pieces of it are of.
    public var oldest: Int
    public var newest: Int
    /// The number of operations on the classes that it has seen.
    public var classVersion: Int

    public init(oldest: Int, newest: Int, classVersion: Int) {
        self.oldest = oldest
        self.newest = newest
        self.classVersion = classVersion
    }
}

extension SliceKeeper {
    /// What happens to a keeper.
    public enum Event: Sendable {
        /// The coordinator's plan, in any order and any number of times.
        case plan(Plan)
        /// The oldest step that the snapshots of the shard's own slices are of; -1 for the initial values.
        case snapshots(oldest: Int)
        /// An owner's answer, and the request that it answers.
        case reply(to: TransferRequest, TransferReply<Payload>)
        /// The shell has stored a piece.
        case stored(SliceName, index: Int)
        /// The copy counts: it is complete and durable, and has taken the place of an older one.
        case installed(SliceName)
        /// What was received could not be stored or installed: the copy begins anew.
        case failed(SliceName)
        /// What the directory has: a copy that was found damaged is gone, and a slice that is owned needs none.
        case holds(owned: Set<SliceName>, copies: Set<SliceName>)
        /// The connection to an owner was lost.
        case unreachable(MemberID)
        /// Bytes of an owner's answers come in.
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
        /// Drop what was stored of the copy that is being made. An older one stays.
        case discard(SliceName)
        /// Make the copy durable and let it take the place of an older one, then tell `.installed`.
        case install(SliceName)
        /// Remove the copy that counts: it is not this shard's to keep any more.
        case drop(SliceName)
    }
}
