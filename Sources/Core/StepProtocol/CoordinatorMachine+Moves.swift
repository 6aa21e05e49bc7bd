internal import Cluster

/// Who owns which slice, and slices on their way.
extension CoordinatorMachine {
    /// Shards that own slices.
    var owners: [MemberID] { Set(record.owners.values).sorted().map { MemberID(.shard, $0) } }

    func owns(_ member: MemberID) -> Bool {
        member.role == .shard && record.owners.values.contains(member.number)
    }

    /// The slices of a shard.
    func slices(of member: MemberID) -> (centers: SliceSet, dense: SliceSet) {
        let owned = record.owners.filter { $0.value == member.number }.keys
        return (owned.centers, owned.dense)
    }

    var shardMap: [Plan.Shard] {
        owners.map { member in
            let owned = slices(of: member)
            let kept = copies(at: member)
            return Plan.Shard(
                shard: member, endpoint: record.members[member]?.endpoint ?? "", slices: owned.centers,
                denseSlices: owned.dense, kept: kept.centers, keptDense: kept.dense)
        }
    }

    /// The moves that are under way: the first ones of those that are planned. None while the state or the classes change, so that
    /// copies of what was before are dropped.
    var activeMoves: [SliceMove] {
        switch record.task?.kind {
        case .restore, .classes: []
        case .skip, .check, .checkpoint, .handOver, .promote, nil:
            Array(record.moves.prefix(max(1, configuration.movesAtOnce)))
        }
    }

    /// Shards that may own slices: after a restart of the coordinator also those that have yet to return.
    private var candidates: [Int] {
        shards.filter { !isDraining($0) && !isCutOff($0) && (owns($0) || live[$0]?.isAlive == true) }.map(\.number)
    }

    func isDraining(_ member: MemberID) -> Bool { record.members[member]?.isDraining == true }

    /// The moves that would even out ownership now.
    public func rebalancePlan() -> [SliceMove] {
        record.owners.isEmpty ? [] : Rebalance.moves(owners: record.owners, shards: candidates)
    }

    /// Plans the moves anew. What is under way goes on if it still makes sense.
    mutating func replan() -> [Action] {
        let planned = Rebalance.moves(after: record.moves, owners: record.owners, shards: candidates)
        guard planned != record.moves else { return [] }
        let event = Action.event(.info, planned.isEmpty ? "no slice moves" : Self.text(planned))
        return set(planned) + [event] + broadcast()
    }

    private static func text(_ moves: [SliceMove]) -> String {
        let dense = moves.count(where: \.slice.isDense)
        return Count.slices(moves.count - dense, dense) + (moves.count == 1 ? " is to move" : " are to move")
    }

    /// Changes the moves. A hand-over of one that is not among them any more is called off.
    mutating func set(_ moves: [SliceMove]) -> [Action] {
        let actions = decide(.moves(moves))
        guard case .handOver(let handedOver) = record.task?.kind, !handedOver.allSatisfy(moves.contains) else {
            return actions
        }
        if case .task = activity { return actions + endTask() }
        return actions + decide(.task(nil))
    }

    /// Plans the moves anew after shards came or went, if that is wanted.
    mutating func replanned() -> [Action] {
        let isDrainingSome = shards.contains { isDraining($0) && owns($0) }
        return isDrainingSome || configuration.rebalancesAutomatically && !record.owners.isEmpty ? replan() : []
    }

    mutating func cancelMoves(to member: MemberID) -> [Action] {
        set(record.moves.filter { $0.to != member }) + replanned()
    }

    /// Moves whose copy needs at most two more steps.
    var nearMoves: [SliceMove] {
        activeMoves.filter { move in
            guard isAlive(move.to), let step = live[move.to]?.report?.received[move.slice], step >= -1 else {
                return false
            }
            return step >= committed - 2 && (step >= 0 || committed < 0)
        }
    }

    /// Who owns what once these slices have moved.
    func owners(after moves: [SliceMove]) -> [SliceName: Int] {
        var owners = record.owners
        for move in moves where owners[move.slice] == move.from.number { owners[move.slice] = move.to.number }
        return owners
    }

    /// Who owns what once the slices of these shards are divided among others.
    func owners(without gone: [MemberID], dividedAmong others: [Int]) -> [SliceName: Int] {
        let numbers = Set(gone.map(\.number))
        return owners(
            after: Rebalance.moves(owners: record.owners.filter { numbers.contains($0.value) }, shards: others))
    }

    /// The copies are complete and durable: the receivers own them from the next step on.
    mutating func handOver(_ moves: [SliceMove]) -> [Action] {
        // What it held when it joined was of a shard without slices.
        for move in moves where record.owners[move.slice] == move.from.number { live[move.to]?.unchecked = nil }
        var actions = assign(owners(after: moves))
        actions += decide(.moves(record.moves.filter { !moves.contains($0) }))
        let text = moves.map { "\($0.slice) to \($0.to)" }.joined(separator: ", ")
        actions += [.event(.info, "after step \(committed): \(text)")]
        return actions + dismissDrained()
    }

    /// Shards that were to go and own nothing any more.
    mutating func dismissDrained() -> [Action] {
        shards.filter { isDraining($0) && !owns($0) && !record.owners.isEmpty }.flatMap { member in
            let peer = live.removeValue(forKey: member)?.peer
            if dismissed.count >= 64, let oldest = dismissed.keys.min() { dismissed[oldest] = nil }
            dismissed[member] = record.members[member]?.incarnation
            var actions = decide(.gone(member)) + [.event(.info, "\(member) has handed its slices over and goes")]
            if let peer { actions.append(.dismiss(peer, member)) }
            return actions
        }
    }
}
