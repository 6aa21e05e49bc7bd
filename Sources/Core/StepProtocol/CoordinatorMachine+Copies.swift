internal import Cluster

/// Second copies of slices: who keeps them, and what becomes of the slices of an owner that is lost.
extension CoordinatorMachine {
    /// What is known of copies besides the record.
    struct Copies: Sendable {
        /// Owners that the operator has given up: they are not waited for.
        var givenUp: Set<MemberID> = []
        /// The map and the shards, with the zone or host of each, that keepers were last chosen for.
        var chosen: (map: Int, candidates: [Int: String])?
        /// A copy could not be used: it is not tried again before this.
        var retryAt: Duration?
    }

    var keepsCopies: Bool { configuration.copies > 1 }

    /// Whether a slice is something else than its initial values.
    var isUnderWay: Bool { committed >= 0 || classVersion > 0 || configuration.origin != nil }

    /// The slices of others that a shard keeps copies of.
    func copies(at member: MemberID) -> (centers: SliceSet, dense: SliceSet) {
        let kept = record.keepers.filter { $0.value == member.number && record.owners[$0.key] != member.number }.keys
        return (kept.centers, kept.dense)
    }

    /// The step from which its keeper can make its copy of a slice current; nil without a complete copy at a shard that lives.
    func copyStep(of slice: SliceName) -> Int? {
        guard let number = record.keepers[slice], record.owners[slice] != number else { return nil }
        let keeper = MemberID(.shard, number)
        return isAlive(keeper) && owns(keeper) ? live[keeper]?.report?.kept[slice] : nil
    }

    // MARK: Choosing

    /// Chooses who keeps copies, if the owners are not those that it was last chosen for. Every owner is there.
    ///
    /// Only owners can: whoever owns nothing takes no part in the steps, and has no log of them.
    mutating func appointKeepers() -> [Action]? {
        guard keepsCopies || !record.keepers.isEmpty, !record.owners.isEmpty else { return nil }
        let places = (keepsCopies ? ableKeepers : []).map { number in
            (number, record.members[MemberID(.shard, number)].map { $0.zone ?? Self.host($0.endpoint) } ?? "")
        }
        let candidates = [Int: String](uniqueKeysWithValues: places)
        if let chosen = copies.chosen, chosen == (record.mapVersion, candidates) { return nil }
        copies.chosen = (record.mapVersion, candidates)
        let keepers = Rebalance.keepers(
            current: record.keepers, owners: record.owners, candidates: candidates,
            leaving: Set(candidates.keys.filter { isDraining(MemberID(.shard, $0)) }))
        guard keepers != record.keepers else { return nil }
        var actions = decide(.map(version: record.mapVersion + 1, owners: record.owners)) + decide(.keepers(keepers))
        copies.chosen?.map = record.mapVersion
        let text =
            keepers.isEmpty
            ? "no second copies are kept any more"
            : "second copies of \(keepers.count) slices are kept by \(Count.of(Set(keepers.values).count, "shard"))"
        actions += [.event(.info, text)]
        return actions + broadcast()
    }

    /// Owners that can keep copies, by number.
    private var ableKeepers: [Int] { owners.filter { live[$0]?.logsSteps != false }.map(\.number) }

    /// Why no slice can have a second copy; empty if slices can.
    private var lackOfKeepers: String {
        record.owners.isEmpty || ableKeepers.count > 1
            ? "" : "that takes two shard servers which own slices and log their steps"
    }

    /// The host of an endpoint (`tcp://host:port`).
    private static func host(_ endpoint: String) -> String {
        let address = endpoint.split(separator: "/").last.map(String.init) ?? endpoint
        return address.lastIndex(of: ":").map { String(address[..<$0]) } ?? address
    }

    /// Why the run waits although every owner is there, or nil.
    var lackOfCopies: String? {
        guard keepsCopies, configuration.minimumCopies > 1 else { return nil }
        let complete = record.owners.keys.count { copyStep(of: $0) != nil }
        if complete == record.owners.count { return nil }
        let why = lackOfKeepers.isEmpty ? "" : ": \(lackOfKeepers)"
        return
            "waiting for second copies: \(complete) of \(record.owners.count) slices have one (cluster.min_copies)\(why)"
    }

    // MARK: Losing an owner

    private var silentOwners: [MemberID] { owners.filter { !isAlive($0) } }

    private func promotionTime(of member: MemberID) -> Duration {
        if copies.givenUp.contains(member) || isCutOff(member) { return .zero }
        return (live[member]?.lastHeard ?? lastEvent) + configuration.lease + configuration.promoteAfter
    }

    /// When an owner that is silent will be taken for lost, or a copy is tried again.
    var nextPromotion: Duration? {
        guard keepsCopies else { return nil }
        return (silentOwners.map(promotionTime) + [copies.retryAt].compactMap { $0 }).filter { $0 > lastEvent }.min()
    }

    /// The owners, by the record, of slices that keepers which are there say they have copies of. Their owners are lost.
    func ownersOfCopies(_ there: [(MemberID, kept: Set<SliceName>)], _ now: Duration) -> [SliceName: Int] {
        guard keepsCopies else { return [:] }
        let kept = Dictionary(there.map { ($0.0.number, $0.kept) }) { first, _ in first }
        return record.owners.filter { slice, number in
            let owner = MemberID(.shard, number)
            guard let keeper = record.keepers[slice], keeper != number, owns(MemberID(.shard, keeper)) else {
                return false
            }
            return kept[keeper]?.contains(slice) == true && !isAlive(owner) && promotionTime(of: owner) <= now
        }
    }

    /// Why the slices of these owners cannot go to those who keep copies of them; nil if they can.
    func mayPromote(_ lost: [MemberID]) -> String? {
        if !keepsCopies { return "the run keeps one copy of each slice (cluster.copies)" }
        let numbers = Set(lost.map(\.number))
        let lacking = record.owners.filter { numbers.contains($0.value) && copyStep(of: $0.key) == nil }.keys
        guard let first = lacking.min() else { return nil }
        let others = lacking.count > 1 ? " and \(lacking.count - 1) more" : ""
        return "no other shard that is there has a complete copy of \(first)\(others)"
    }

    /// What comes of the silence of these owners, for the operator.
    func remedy(_ silent: [MemberID]) -> String {
        let (them, their) = silent.count == 1 ? ("it", "its") : ("them", "their")
        var why = ""
        if keepsCopies {
            if isStateElsewhere {
                return newOwners().isEmpty ? "; start another shard server, which gets \(their) slices" : ""
            }
            guard let lack = mayPromote(silent) else {
                let time = configuration.lease + configuration.promoteAfter
                return "; \(their) slices go to those who keep copies of them when nothing was heard for \(time)"
            }
            why = ", and \(lack)"
        }
        let forget = "give \(them) up with `coordinator forget \(silent[0])`"
        let wayOut =
            if let checkpoint = newestCheckpoint {
                newOwners().isEmpty
                    ? "start another shard server, and then \(forget)"
                    : "\(forget), which goes back to the checkpoint \(checkpoint.directory) of step \(checkpoint.step)"
            } else {
                "start the run anew: there is no checkpoint to go back to"
            }
        return "\(why); if \(their) directory is lost, \(wayOut)"
    }

    /// Whether owners are lost, and everything of theirs can be had without them.
    func canReplaceLostOwners(_ now: Duration) -> Bool {
        let silent = silentOwners
        return keepsCopies && !silent.isEmpty && silent.allSatisfy { promotionTime(of: $0) <= now }
            && (isStateElsewhere || mayPromote(silent) == nil)
    }

    /// Whether nobody needs what the owners have: everyone loads a checkpoint, or nothing has happened yet.
    var isStateElsewhere: Bool {
        switch record.task?.kind {
        case .restore(.some): true
        // A step that shards have may have been committed, and the record have lost that.
        case .restore(nil), nil: !isUnderWay && !owners.contains { live[$0]?.unchecked?.newest ?? -1 >= 0 }
        case .skip, .check, .checkpoint, .classes, .handOver, .promote: false
        }
    }

    /// Whether lost owners hold something up that does not end by itself.
    var isHeldUp: Bool {
        switch activity {
        case .finishing: true
        // Shards go when the run is over: only one that the operator gives up is lost then.
        case .finished: silentOwners.contains { copies.givenUp.contains($0) }
        case .train, .wait, .task, .failed: false
        }
    }

    /// Has the keepers of the slices of owners that are lost load their copies; nil if there is nothing to do, or nothing can be done.
    mutating func promoteKeepers(_ now: Duration) -> [Action]? {
        guard !isOlder, copies.retryAt ?? now <= now, canReplaceLostOwners(now) else { return nil }
        let silent = silentOwners
        if isStateElsewhere { return reassign(silent) }
        let numbers = Set(silent.map(\.number))
        let moves = record.owners.filter { numbers.contains($0.value) }.keys.sorted().compactMap { slice in
            record.keepers[slice].map {
                SliceMove(
                    slice: slice, from: MemberID(.shard, record.owners[slice] ?? -1), to: MemberID(.shard, $0))
            }
        }
        let names = silent.map { "\($0)" }.joined(separator: ", ")
        let task = BoundaryTask(
            number: max(record.nextTask, highestTask + 1), step: committed, kind: .promote(moves))
        // It changes nothing and is not remembered: what is decided stays so, and has another number.
        let decided = record.task
        (acknowledged, taskFailures) = ([:], [:])
        return decide(.task(task)) + decide(.task(decided))
            + [.event(.warning, "\(names): taken for lost; \(moves.count) slices are made from their second copies")]
            + turn(to: .task(task))
    }

    /// The numbers of the shards that could own slices, or those of another one.
    func newOwners(besides member: MemberID? = nil) -> [Int] {
        shards.filter { $0 != member && isAlive($0) && !isDraining($0) }.map(\.number)
    }

    /// Everyone loads a checkpoint, or nothing has happened yet: it does not matter who had which slices.
    private mutating func reassign(_ lost: [MemberID]) -> [Action]? {
        let others = newOwners()
        if others.isEmpty { return nil }
        let actions = disown(lost, owners(without: lost, dividedAmong: others))
        guard let task = record.task else { return actions + broadcast() }
        // Under a new number: who is doing it has begun with the slices of the old map. By its log nobody gets a slice that it had not.
        return actions
            + begin(task.kind == .restore(checkpoint: nil) ? .restore(checkpoint: "") : task.kind, step: task.step)
    }

    /// Whether what the announced promotion was for has changed: an owner is back, or a keeper gone.
    var isPromotionOver: Bool {
        guard case .task(let task) = activity, case .promote(let moves) = task.kind else { return false }
        return moves.contains { isAlive($0.from) || !isAlive($0.to) }
    }

    /// A copy cannot be used. Which ones still can, its keeper says with its next report; it makes another if the owner comes back.
    mutating func noteDamage(at keeper: MemberID, _ now: Duration) {
        copies.retryAt = now + max(.seconds(2), configuration.unresponsiveBackoff)
        (acknowledged, taskFailures) = ([:], [:])
        state = .waiting(reason: "")
        live[keeper]?.report?.kept = [:]
    }

    /// Every copy is loaded: their keepers are the owners from now on.
    mutating func promote(_ moves: [SliceMove]) -> [Action] {
        (acknowledged, taskFailures) = ([:], [:])
        state = .waiting(reason: "")
        let lost = Set(moves.map(\.from)).sorted()
        return disown(lost, owners(after: moves))
            + [
                .event(
                    .info,
                    "after step \(committed): those who kept copies own the \(moves.count) slices of \(lost.map { "\($0)" }.joined(separator: ", "))"
                )
            ]
            + replanned()
    }

    /// Gives the slices of lost owners to others.
    private mutating func disown(_ lost: [MemberID], _ owners: [SliceName: Int]) -> [Action] {
        var actions = assign(owners)
        actions += set(record.moves.filter { owners[$0.slice] == $0.from.number && !lost.contains($0.to) })
        // One that was on its way out has nothing more to hand over.
        for member in lost where copies.givenUp.remove(member) != nil || isDraining(member) {
            live[member] = nil
            actions += decide(.gone(member))
        }
        return actions
    }

    /// Decides who owns what, in a new map. Whoever owns nothing any more keeps no copies either.
    ///
    /// - Parameter version: the newest map that anyone knows.
    mutating func assign(_ owners: [SliceName: Int], above version: Int = 0) -> [Action] {
        let actions = decide(.map(version: max(version, record.mapVersion) + 1, owners: owners))
        let numbers = Set(owners.values)
        let keepers = record.keepers.filter { owners[$0.key] != $0.value && numbers.contains($0.value) }
        return keepers == record.keepers ? actions : actions + decide(.keepers(keepers))
    }

    /// What the status says of copies; nil if there is one of each slice.
    var copyStatus: CoordinatorStatus.Copies? {
        guard keepsCopies else { return nil }
        let steps = record.owners.keys.map { copyStep(of: $0) }
        let oldest = steps.compactMap { $0 }.min()
        let seconds = history.suffix(20).map(\.seconds).sorted()
        let median = seconds.isEmpty ? nil : seconds[seconds.count / 2]
        let replayed = oldest.map { max(0, committed - $0) }
        return .init(
            wanted: configuration.copies, slices: record.owners.count, complete: steps.count { $0 != nil },
            oldest: oldest, stepsToReplay: replayed, secondsPerStep: median, problem: lackOfKeepers)
    }
}
