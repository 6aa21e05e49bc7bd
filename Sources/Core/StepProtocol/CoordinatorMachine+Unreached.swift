internal import Cluster

/// Shards that the coordinator hears and no worker reaches. Where their slices have second copies, such a shard is as good as lost.
extension CoordinatorMachine {
    /// What is known of such shards.
    struct Unreached: Sendable {
        /// The shard that no worker gets an answer from, since when, over all attempts of the step, and since when without a break.
        var suspect: (shard: MemberID, since: Duration, present: Duration?)?
        /// Shards that were taken for lost though they live, by incarnation.
        var cutOff: [MemberID: UInt64] = [:]
    }

    /// Rest of this long at every worker shows that it waits. What members say is older than that of others, but not by so much.
    private var settled: Duration { configuration.lease / 2 }

    /// Whether a shard was taken for lost though it lives. A process that is started again, perhaps elsewhere, is tried again.
    func isCutOff(_ member: MemberID) -> Bool {
        unreached.cutOff[member].map { $0 == record.members[member]?.incarnation } ?? false
    }

    /// How long such a shard is waited for: as for a silent one, and until it is clear that it is not some of the workers.
    private var reachPatience: Duration {
        max(configuration.lease + configuration.promoteAfter, configuration.stuckAfter)
    }

    /// The one shard that no worker gets an answer from, while it waits for all of them: nothing comes through between it and them.
    func shardWithoutWorkers(_ now: Duration) -> MemberID? {
        guard isTraining || isWriting else { return nil }
        let waiting = ranks.map { shardAwaited(by: $0.worker, now) }
        let others = workers.filter { worker in isAlive(worker) && !ranks.contains { $0.worker == worker } }
        guard let shard = waiting.compactMap(\.self).min() ?? others.flatMap({ unreached(by: $0) }).min(), owns(shard),
            isWriting || lacksEveryone(shard), others.allSatisfy({ unreached(by: $0).contains(shard) })
        else { return nil }
        // Whoever does not even say for whom it waits has reached nobody.
        let stuck = Set(stuckRanks(now).map(\.rank))
        guard
            ranks.indices.allSatisfy({ rank in
                waiting[rank] == shard
                    || stuck.contains(rank) && live[ranks[rank].worker]?.activity?.said.id != id
            })
        else { return nil }
        return shard
    }

    /// The only shard that a worker waits for in the running attempt; nil if there are others, or it has something to do.
    private func shardAwaited(by worker: MemberID, _ now: Duration) -> MemberID? {
        guard let activity = live[worker]?.activity, activity.said.id == id, !activity.said.computes,
            activity.said.waitsFor.count == 1, activity.changed + settled <= now
        else { return nil }
        return MemberID(.shard, activity.said.waitsFor[0])
    }

    private var isTraining: Bool { activity == .train }

    /// Whether a worker writes the results: it may have to read the parameters first.
    private var isWriting: Bool { if case .finishing(.some) = activity { true } else { false } }

    /// Whether a shard has nothing to do until it hears from every rank, or has told all of them everything and was not heard.
    private func lacksEveryone(_ shard: MemberID) -> Bool {
        guard let report = live[shard]?.report, report.obstacle.isEmpty, let waiting = report.waiting,
            waiting.id == id, !waiting.isBusy, waiting.failure == nil
        else { return false }
        // If it lacks some, those are to blame.
        let phase = waiting.ranks.map(\.phase).min()
        let behind = Set(waiting.ranks.filter { $0.phase == phase }.map(\.rank)).count
        return behind == 0 || behind >= min(ranks.count, ShardWaiting.rankLimit)
    }

    /// Takes the shard that no worker has reached for long for lost, if others can have its slices.
    mutating func judgeReach(_ now: Duration) -> [Action] {
        guard let shard = shardWithoutWorkers(now) else {
            if isTraining || isWriting { unreached.suspect?.present = nil }
            return []
        }
        if unreached.suspect?.shard != shard { unreached.suspect = (shard, now - settled, nil) }
        let present = unreached.suspect?.present ?? now
        unreached.suspect?.present = present
        guard let suspect = unreached.suspect, suspect.since + reachPatience <= now, present + settled <= now,
            lackOfReplacement(shard) == nil, let incarnation = record.members[shard]?.incarnation
        else { return [] }
        unreached.suspect = nil
        unreached.cutOff = unreached.cutOff.filter { isCutOff($0.key) }
        unreached.cutOff[shard] = incarnation
        let reason = "no worker has reached \(name(of: shard)) for \(Self.seconds(now - suspect.since)) s"
        if isTraining { return abort(reason) }
        state = .waiting(reason: "")
        return [.event(.warning, reason)]
    }

    /// Why the slices of a shard cannot be had from others; nil if they can.
    private func lackOfReplacement(_ shard: MemberID) -> String? {
        guard keepsCopies, isStateElsewhere else { return mayPromote([shard]) }
        return newOwners(besides: shard).isEmpty ? "there is no other shard" : nil
    }

    /// Owners that cannot be replaced after all are tried again; nil if there are none.
    mutating func tryAgainWhoIsCutOff() -> [Action]? {
        let owning = owners.filter(isCutOff)
        if owning.isEmpty { return nil }
        for shard in owning { unreached.cutOff[shard] = nil }
        let names = owning.map { "\($0)" }.joined(separator: ", ")
        return [.event(.warning, "\(names): the slices cannot be had from others now, so it is tried again")]
    }

    /// Of which shard workers get no answer, and what comes of it, in words; nil if there is none.
    func unreachedShard(_ now: Duration) -> String? {
        guard let shard = shardWithoutWorkers(now), let suspect = unreached.suspect, suspect.shard == shard,
            suspect.since + .seconds(5) <= now
        else { return nil }
        let what =
            "no worker has reached \(name(of: shard)) for \(Self.seconds(now - suspect.since)) s, though the coordinator does"
        guard let why = lackOfReplacement(shard) else {
            return "\(what); its slices go to those who keep copies of them after \(Self.seconds(reachPatience)) s"
        }
        return
            "\(what), and \(why): mend the network between them, or start it with its directory where workers reach it"
    }

    /// Why a shard that lives has no slices; empty if that is not known.
    func whyCutOff(_ shard: MemberID) -> String {
        isCutOff(shard) && !owns(shard)
            ? "no worker reached it; it gets slices when it is started again, or with `coordinator rebalance`" : ""
    }

    private func name(of shard: MemberID) -> String {
        let endpoint = record.members[shard]?.endpoint ?? ""
        return "\(shard)" + (endpoint.isEmpty ? "" : " at \(endpoint)")
    }

    /// Owners that have not said that they take part in the running attempt, in words, once that takes long; empty if all have.
    func absentShards(_ now: Duration) -> String {
        guard let attempt, attempt.since + .seconds(5) <= now else { return "" }
        let absent = owners.filter { live[$0]?.report?.waiting?.id != id }
        if absent.isEmpty { return "" }
        return
            "\(absent.map { "\($0)" }.joined(separator: ", ")) does not take part in \(id): it has not heard of it, or cannot yet"
    }
}
