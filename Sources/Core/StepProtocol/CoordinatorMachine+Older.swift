internal import Cluster

/// A database that is older than the cluster: one that was put back from a copy while members live, or while their directories went
/// on.
extension CoordinatorMachine {
    /// No term is believed that is so much newer than the own: a term begins with every start of a coordinator, and whoever believed a lie would have
    /// none left above it.
    private func isBelieved(_ term: Int) -> Bool { term < min(CoordinatorRecord.termLimit, record.term + 1 << 20) }

    /// A member tells, under its incarnation, the newest term that it knows, and which coordinator process began it (0: it does not know).
    ///
    /// A plan of this coordinator would be ignored if its term were not above that.
    mutating func hear(ofTerm term: Int, by coordinator: UInt64, from process: UInt64) -> [Action] {
        guard term >= record.term, isBelieved(term),
            record.members.values.contains(where: { $0.incarnation == process })
        else { return [] }
        if term == record.term, coordinator == 0 || coordinator == incarnation { return [] }
        return rise(above: term)
    }

    /// A directory has steps of a term that was not begun here.
    mutating func hear(of state: ShardState) -> [Action] {
        guard let term = state.holdings?.recent.map(\.term).max(), isBelieved(term),
            term > record.term || term == record.term && !hasBegunInTerm
        else { return [] }
        return rise(above: term)
    }

    /// Begins a term above one that was not begun here. Everyone must say again what it holds, as after a start.
    private mutating func rise(above term: Int) -> [Action] {
        let text =
            "members know term \(term), the database \(record.term): it is older than the cluster, as one that was put back from a "
            + "copy is. What was trained since is taken from the shards; what was ordered since is forgotten"
        highestTerm = max(highestTerm, term)
        let actions = beginTerm(committed: committed)
        isRecordUnchecked = true
        for member in live.keys where member.role == .shard {
            live[member]?.peer = nil
            if owns(member) { live[member]?.isAlive = false }
        }
        return actions + [.event(.warning, text)] + broadcast()
    }

    /// Whether a directory is of a later time than the record.
    func isOfTheFuture(_ held: ShardHoldings) -> Bool {
        if record.owners.isEmpty { return !held.owned.isEmpty && held.mapVersion > 0 }
        if held.mapVersion > record.mapVersion || held.lastTask >= record.nextTask { return true }
        return held.past != 0 && Past.term(of: held.past) > Past.term(of: record.pasts.present)
    }

    /// Notes that the record is older than the cluster. Nothing goes on until it is made good.
    mutating func noteOlder(_ member: MemberID, _ held: ShardHoldings) -> [Action] {
        highestTask = max(highestTask, held.lastTask)
        if isOlder { return [] }
        isOlder = true
        var actions: [Action] = []
        if activity == .train { actions += abort("the database is older than the cluster") }
        if case .failed = activity { return actions }
        state = .waiting(reason: "")
        let text =
            "\(member) holds more than the database knows of: that is older than the cluster, as one that was put back from a copy is"
        return actions + [.event(.warning, text)]
    }

    /// Whether the member is told plans: not a shard while the record is older than the cluster. It would drop what an old map and
    /// moves that are long over do not give to it.
    func mayHear(_ member: MemberID) -> Bool { !isOlder || member.role != .shard }

    func planned(for member: MemberID, _ peer: PeerID) -> [Action] {
        mayHear(member) ? [.send(member, peer, plan)] : []
    }

    /// The operator lets everyone load a checkpoint: it does not matter any more what shards hold. Their maps are replaced by a later one.
    mutating func giveUpMakingGood() -> [Action] {
        guard isOlder else { return [] }
        isOlder = false
        let known = live.values.compactMap { $0.holdings?.mapVersion }.max() ?? 0
        return decide(.map(version: max(known, record.mapVersion) + 1, owners: record.owners))
    }

    /// Who owns what, as the shards that are there have it.
    private struct Claims {
        var owners: [SliceName: Int] = [:]
        /// The map that the claim of each is of; a copy counts less than a slice that is owned.
        var ranks: [SliceName: Int] = [:]
        var disputed: Set<SliceName> = []

        mutating func add(_ slices: Set<SliceName>, _ rank: Int, _ shard: Int) {
            for slice in slices {
                let known = ranks[slice] ?? -1
                if rank < known { continue }
                if rank == known { disputed.insert(slice) } else { disputed.remove(slice) }
                (owners[slice], ranks[slice]) = (shard, rank)
            }
        }

        /// Leaves slices that nobody claims to owners who are lost: they are made from second copies.
        mutating func addCopied(_ known: [SliceName: Int]) {
            owners.merge(known) { claimed, _ in claimed }
        }

        /// Gives the slices that nobody claims to shards that are there.
        mutating func addInitial(_ slices: Set<SliceName>, _ known: [SliceName: Int], _ shards: [Int]) {
            for (index, slice) in slices.subtracting(owners.keys).sorted().enumerated() {
                let owner = known[slice].flatMap { shards.contains($0) ? $0 : nil }
                owners[slice] = owner ?? shards[index % shards.count]
            }
        }
    }

    /// Makes the record good from what the shards hold, when every slice is there.
    mutating func makeGood() -> Reconciliation {
        let there = shards.filter(isAlive).compactMap { member in live[member]?.holdings.map { (member, $0) } }
        let newestMap = there.map(\.1.mapVersion).max() ?? 0
        var claims = Claims()
        for (member, held) in there {
            claims.add(held.owned, 2 * held.mapVersion + 1, member.number)
            // A copy counts where the map has changed and this shard had yet to hear of it.
            if held.mapVersion < newestMap {
                claims.add(held.copies.subtracting(held.owned), 2 * held.mapVersion, member.number)
            }
        }
        let every = Set.all(centers: configuration.sliceCount, dense: configuration.denseSliceCount)
        claims.addCopied(ownersOfCopies(there.map { ($0.0, $0.1.kept) }, lastEvent))
        let advice = "start every shard server with its directory, or put a newer database back"
        if isBeforeTheFirstStep(there.map(\.0)) { claims.addInitial(every, record.owners, there.map(\.0.number)) }
        let missing = every.subtracting(claims.owners.keys)
        if let first = missing.min() {
            let others = missing.count > 1 ? " and \(missing.count - 1) more" : ""
            return .wait(
                reason:
                    "the database is older than the cluster, and no shard that is there has \(first)\(others): \(advice)"
            )
        }
        if let first = claims.disputed.min() {
            return .wait(
                reason:
                    "the database is older than the cluster, and more than one shard has \(first): end all but the right one"
            )
        }
        let owners = Set(claims.owners.values)
        let theirs = there.filter { owners.contains($0.0.number) }.map(\.1)
        let pasts = Set(theirs.map(\.past)).subtracting([0])
        if pasts.count > 1 {
            return .wait(
                reason:
                    "the database is older than the cluster, and its shards are of different pasts: put a newer database back, or go "
                    + "back to a checkpoint with `coordinator restore`")
        }
        // What some have done of an operation that is under way is known.
        let known = if case .classes = record.task?.kind { classVersion + 1 } else { classVersion }
        if let version = theirs.map(\.classVersion).max(), version > known {
            return .wait(
                reason:
                    "the database is older than the cluster: it knows \(classVersion) operations on the classes, the shards have done "
                    + "\(version): put a newer database back, or begin a new run from a checkpoint with `serve --resume`"
            )
        }
        return .act(adopt(claims.owners, theirs, past: pasts.first))
    }

    /// Whether nothing was trained yet, as everyone who should be there says: a slice has its initial values then, wherever it is.
    private func isBeforeTheFirstStep(_ there: [MemberID]) -> Bool {
        committed == -1 && classVersion == 0 && configuration.origin == nil
            && there.count >= configuration.expectedShards
            && owners.allSatisfy(isAlive)
            && there.allSatisfy { live[$0]?.unchecked?.newest ?? 0 == -1 && live[$0]?.holdings?.classVersion == 0 }
    }

    private mutating func adopt(_ owners: [SliceName: Int], _ held: [ShardHoldings], past: UInt64?) -> [Action] {
        let version = max(record.mapVersion, held.map(\.mapVersion).max() ?? 0)
        var actions = assign(owners, above: version)
        // A task that shards have gone beyond was done or replaced.
        if let task = record.task, task.number < highestTask { actions += endTask() }
        if !record.moves.isEmpty { actions += decide(.moves([])) }
        if record.task == nil, record.nextTask <= highestTask {
            // Numbers of tasks go on above those that shards know.
            actions +=
                decide(.task(BoundaryTask(number: highestTask, step: committed, kind: .skip))) + decide(.task(nil))
        }
        if let past, past != record.pasts.present {
            actions += decide(.pasts([Past(name: past, since: -1)]))
            if !record.attempts.isEmpty { actions += decide(.attempts([])) }
            let checkpoints = record.checkpoints.filter { $0.past == past }
            if checkpoints != record.checkpoints { actions += decide(.checkpoints(checkpoints)) }
        }
        for member in shards where !owns(member) && !isHeard(member) {
            live[member] = nil
            actions += decide(.gone(member))
        }
        isOlder = false
        isRecordUnchecked = true
        let text =
            "who owns what is taken from the shards (slice map \(version + 1)). Orders since the copy of the database are forgotten: "
            + "see `coordinator status`, `checkpoints`, `classes list`"
        return actions + [.event(.warning, text)]
    }
}
