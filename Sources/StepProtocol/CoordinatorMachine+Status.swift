extension CoordinatorMachine {
    /// A snapshot of the run for an operator.
    public func status(at now: Duration) -> CoordinatorStatus {
        let map = shardMap
        var members: [CoordinatorStatus.Member] = []
        for number in shards.indices {
            guard let shard = shards[number] else { continue }
            var member = describe(shard, MemberID(.shard, number), now)
            member.slices = map.isEmpty ? nil : map[number].slices
            member.denseSlices = map.isEmpty ? nil : map[number].denseSlices
            members.append(member)
        }
        for (number, worker) in workers.sorted(by: { $0.key < $1.key }) {
            var member = describe(worker, MemberID(.worker, number), now)
            if let rank = ranks.firstIndex(where: { $0.worker == member.id }) {
                member.rank = rank
                member.microBatches = ranks[rank].microBatches
                let isLast = ranks.count > 1 && results.count == ranks.count - 1 && results[rank] == nil
                member.isLate = member.isLate || isLast
            }
            members.append(member)
        }
        return CoordinatorStatus(
            current: id, committed: committed, totalSteps: configuration.totalSteps, activity: activity,
            isPaused: isPaused, isStopping: isStopping, exchange: configuration.exchange, members: members,
            history: history)
    }

    private func describe(_ member: Member, _ id: MemberID, _ now: Duration) -> CoordinatorStatus.Member {
        CoordinatorStatus.Member(
            id: id, endpoint: member.endpoint, age: now - member.lastHeard, isAlive: member.isAlive,
            isLate: now - member.lastHeard > configuration.lease / 2, slices: nil, denseSlices: nil,
            stateStep: id.role == .shard ? member.stateStep : nil, rank: nil, microBatches: nil,
            lastResult: member.lastResult)
    }
}
