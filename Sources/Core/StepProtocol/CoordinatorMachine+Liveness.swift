internal import Cluster

/// Workers that keep their lease and hold the others up. They are named and left out, so that a run never stops, and never
/// fails, because of one member while others can go on.
extension CoordinatorMachine {
    /// A worker that lives and takes no part for a while.
    struct LeftOut: Sendable {
        var reason: String
        /// Until when; longer each time.
        var until: Duration
        /// How often it was left out.
        var times: Int
        /// Whether it is in the world again.
        var isBack = false
        /// Steps that it was in since then.
        var steps = 0
    }

    /// Workers of one place that ended within a few steps.
    struct Crashes: Sendable {
        var count = 0
        var last = Duration.zero
    }

    /// A worker that was in so many steps is not one that crashes, and one that was left out is as good as any other.
    private static var provenSteps: Int { 10 }
    private static var longestPause: Duration { .seconds(3600) }
    /// Places that are remembered; who comes from more of them is not one that crashes.
    private static var placeLimit: Int { 256 }
    /// How much longer than `stuckAfter` one may take that computes, and one that says nothing of what it does.
    private static var computingFactor: Int { 20 }
    static var unknownFactor: Int { 4 }

    // MARK: The world

    /// The workers of the next attempt: all that live, but for those that are left out. If that is everyone, the one whose pause
    /// ends first is tried alone.
    func world(_ now: Duration) -> [MemberID] {
        if configuration.job != nil { return jobWorld ?? [] }
        let present = workers.filter(isAlive)
        let able = present.filter { !isLeftOut($0, now) }
        if !able.isEmpty { return able }
        return present.min { (leftOut[$0]?.until ?? now, $0) < (leftOut[$1]?.until ?? now, $1) }.map { [$0] } ?? []
    }

    func isLeftOut(_ worker: MemberID, _ now: Duration) -> Bool {
        guard let known = leftOut[worker], !known.isBack else { return false }
        return known.until > now || !unreached(by: worker).isEmpty
    }

    /// Shards with slices that a worker which takes no part says that it does not reach.
    func unreached(by worker: MemberID) -> [MemberID] {
        guard let said = live[worker]?.activity?.said, said.id == nil else { return [] }
        return owners.filter { said.waitsFor.contains($0.number) }
    }

    /// Why a worker takes no part, or empty.
    func whyLeftOut(_ worker: MemberID, _ now: Duration) -> String {
        guard isLeftOut(worker, now), let known = leftOut[worker], !ranks.contains(where: { $0.worker == worker })
        else { return "" }
        if known.until > now { return "\(known.reason); let in again in \(Self.seconds(known.until - now)) s" }
        let shards = unreached(by: worker).map { "\($0)" }.joined(separator: ", ")
        return "\(known.reason); it does not reach \(shards) yet"
    }

    /// Whoever was left out is back.
    mutating func letIn(_ world: [MemberID], _ now: Duration) -> [Action] {
        var actions: [Action] = []
        for worker in world {
            guard let known = leftOut[worker], !known.isBack else { continue }
            leftOut[worker]?.isBack = true
            leftOut[worker]?.steps = 0
            actions.append(.event(.info, "\(worker) is let in again"))
        }
        return actions
    }

    /// Ends the attempt and leaves these ranks out of the next ones for a while.
    ///
    /// - Returns: nil if there would be nobody to go on.
    mutating func leaveOut(_ stuck: [Int], _ reason: String, _ now: Duration) -> [Action]? {
        let names = stuck.map { ranks[$0].worker }
        // A job has all of its ranks or none.
        if configuration.job != nil { return nil }
        guard workers.contains(where: { isAlive($0) && !names.contains($0) && !isLeftOut($0, now) }) else { return nil }
        unreached.suspect = nil
        var actions: [Action] = []
        for worker in names {
            let times = (leftOut[worker]?.times ?? 0) + 1
            let pause = min(Self.longestPause, configuration.stuckAfter * (1 << min(times - 1, 10)))
            leftOut[worker] = LeftOut(reason: reason, until: now + pause, times: times)
            actions.append(.event(.warning, "\(worker) is left out for \(Self.seconds(pause)) s: \(reason)"))
        }
        return actions + abort(reason)
    }

    /// A step is committed: who was in it has shown that it can.
    mutating func noteStep(of ranks: [Plan.Rank]) {
        for rank in ranks {
            live[rank.worker]?.steps += 1
            if live[rank.worker]?.steps == Self.provenSteps, let place = live[rank.worker]?.place {
                crashes[place] = nil
            }
            guard leftOut[rank.worker] != nil else { continue }
            leftOut[rank.worker]?.steps += 1
            if leftOut[rank.worker]?.steps ?? 0 >= Self.provenSteps { leftOut[rank.worker] = nil }
        }
    }

    // MARK: Who is stuck

    mutating func note(_ activity: WorkerActivity, of worker: MemberID, _ now: Duration) {
        let known = live[worker]?.activity
        let isSame = known.map { $0.said.id == activity.id && $0.said.progress == activity.progress } ?? false
        let changed = isSame ? known?.changed ?? now : now
        live[worker]?.activity = (activity, changed)
    }

    /// Whether every shard has said for whom it waits in the running attempt.
    var everyShardTells: Bool { owners.allSatisfy { live[$0]?.report?.waiting?.id == id } }

    /// The ranks that the attempt waits for: those that are furthest behind, at what, and for how long.
    func waitedFor(_ now: Duration) -> [(rank: Int, phase: StepPhase, shard: MemberID, seconds: Double)] {
        if let preparedSince {
            return ranks.indices.filter { results[$0] == nil }.map {
                ($0, .update, owners.first ?? MemberID(.shard, 0), quiet($0, (now - preparedSince) / .seconds(1), now))
            }
        }
        let reports = owners.compactMap { shard in
            live[shard]?.report?.waiting.flatMap { $0.id == id ? (shard: shard, waiting: $0) : nil }
        }
        // While a shard computes, whoever waits for its answer is not to blame. Nobody is waited for who was refused.
        guard reports.count == owners.count,
            !reports.contains(where: { $0.waiting.isBusy || $0.waiting.failure != nil })
        else { return [] }
        let missing = reports.flatMap { report in report.waiting.ranks.map { (shard: report.shard, missing: $0) } }
        guard let phase = missing.map(\.missing.phase).min() else { return [] }
        let behind = Set(missing.filter { $0.missing.phase == phase }.map(\.missing.rank))
        return behind.sorted().compactMap { rank in
            // It may be slow with one shard after the other: what any of them has heard counts.
            let heard = missing.filter { $0.missing.rank == rank }
            guard ranks.indices.contains(rank), let seconds = heard.map(\.missing.seconds).min(),
                let shard = heard.first(where: { $0.missing.phase == phase })?.shard
            else { return nil }
            return (rank, phase, shard, quiet(rank, seconds, now))
        }
    }

    /// For how long nothing is known to have happened at a rank.
    private func quiet(_ rank: Int, _ seconds: Double, _ now: Duration) -> Double {
        guard let activity = live[ranks[rank].worker]?.activity, activity.said.id == id else { return seconds }
        return min(seconds, (now - activity.changed) / .seconds(1))
    }

    /// How long a rank may be quiet. Slow is not stuck: who says that it computes has long, who says nothing has longer when there
    /// is something to compute.
    private func patience(_ rank: Int, _ phase: StepPhase) -> Double {
        let stuck = configuration.stuckAfter / .seconds(1)
        guard let said = live[ranks[rank].worker]?.activity?.said else {
            return phase == .begin ? stuck : stuck * Double(Self.unknownFactor)
        }
        return said.id == id && said.computes ? stuck * Double(Self.computingFactor) : stuck
    }

    /// The ranks that the attempt has waited for too long.
    func stuckRanks(_ now: Duration) -> [(rank: Int, phase: StepPhase, shard: MemberID, seconds: Double)] {
        guard configuration.stuckAfter > .zero else { return [] }
        return waitedFor(now).filter { $0.seconds >= patience($0.rank, $0.phase) }
    }

    mutating func leaveOutWhoIsStuck(_ now: Duration) -> [Action] {
        let stuck = stuckRanks(now)
        // If nobody reaches the shard, another world does not either.
        guard let first = stuck.first, shardWithoutWorkers(now) == nil else { return [] }
        // All of them alike: then it is not one of them, unless there are others to try it with.
        let reason = text(first, now)
        return leaveOut(stuck.map(\.rank), reason, now) ?? []
    }

    private func text(
        _ stuck: (rank: Int, phase: StepPhase, shard: MemberID, seconds: Double), _ now: Duration
    ) -> String {
        let worker = ranks[stuck.rank].worker
        let seconds = Int(stuck.seconds)
        if preparedSince != nil { return "\(worker) has not reported \(id) for \(seconds) s; every shard is prepared" }
        let others = owners.contains { shard in
            shard != stuck.shard
                && live[shard]?.report?.waiting?.ranks.contains { $0.rank == stuck.rank && $0.phase > stuck.phase }
                    == true
        }
        let link = others ? "; other shards have heard of it: the link between the two may be cut" : ""
        return "\(worker) has not come to \(stuck.shard) with \(stuck.phase) of \(id) for \(seconds) s\(link)"
    }

    /// For whom the attempt waits, in words, once that takes long.
    public func waitingFor(_ now: Duration) -> String {
        if let unreachedShard = unreachedShard(now) { return unreachedShard }
        if case .finishing = activity { return obstacle ?? "" }
        guard activity == .train else { return "" }
        if let (shard, refused) = refusedByShards.first {
            return "\(shard) has refused \(id): \(refused.message); no worker has reported it yet"
        }
        let slow = waitedFor(now).filter { $0.seconds >= 5 }
        if slow.isEmpty { return absentShards(now) }
        return slow.prefix(4).map { text($0, now) }.joined(separator: ", ")
    }

    // MARK: What was prepared

    mutating func note(prepared id: StepID, of shard: MemberID) -> [Action] {
        guard shard.role == .shard else { return [] }
        live[shard]?.tellsPrepared = true
        let known = live[shard]?.prepared ?? .nothing
        live[shard]?.prepared = max(id, known)
        return []
    }

    /// Whether every rank has reported the attempt as done, and every shard says so itself. A worker's word is not enough.
    mutating func isPrepared(_ now: Duration) -> Bool {
        let unprepared = owners.contains { live[$0]?.tellsPrepared != false && live[$0]?.prepared != id }
        if unprepared || owners.isEmpty {
            preparedSince = nil
            return false
        }
        preparedSince = preparedSince ?? now
        return !ranks.isEmpty && results.count == ranks.count
    }

    /// The ranks whose gradient norm is not that of most, or nil if all have the same.
    func disagreement(of results: [StepResult]) -> (ranks: [Int], message: String)? {
        let counts = Dictionary(grouping: results.indices) { results[$0].gradientNorm.bitPattern }
        guard counts.count > 1, let most = counts.max(by: { ($0.value.count, $1.key) < ($1.value.count, $0.key) })
        else {
            return nil
        }
        let others = results.indices.filter { results[$0].gradientNorm.bitPattern != most.key }
        let (first, usual) = (others[0], most.value[0])
        let message =
            "rank \(first) (\(ranks[first].worker)) has gradient norm \(results[first].gradientNorm), rank \(usual) "
            + "(\(ranks[usual].worker)) \(results[usual].gradientNorm): they did not compute with the same parameters"
        // Without a majority nobody knows who is right.
        return (2 * most.value.count > results.count ? others : Array(results.indices), message)
    }

    // MARK: Workers that crash

    /// A worker of this place ended within a few steps.
    mutating func noteEnd(of worker: MemberID, _ now: Duration) {
        guard let known = live[worker], known.steps < Self.provenSteps, !isOver else { return }
        if crashes.count >= Self.placeLimit, crashes[known.place] == nil {
            if let oldest = crashes.min(by: { ($0.value.last, $0.key) < ($1.value.last, $1.key) })?.key {
                crashes[oldest] = nil
            }
        }
        crashes[known.place, default: Crashes()].count += 1
        crashes[known.place]?.last = now
    }

    /// One that joins from a place whose workers end again and again waits: a little the second time, then longer.
    mutating func admitWorker(_ worker: MemberID, from place: String, _ now: Duration) -> [Action] {
        live[worker]?.place = place
        if configuration.job != nil { return [] }
        guard let known = crashes[place], known.count > 1 else { return [] }
        let pause = min(Self.longestPause, configuration.lease / 2 * (1 << min(known.count - 2, 10)))
        guard now < known.last + pause else { return [] }
        let reason = "\(known.count) workers of \(place.isEmpty ? "an unknown host" : place) ended within a few steps"
        leftOut[worker] = LeftOut(reason: reason, until: known.last + pause, times: 0)
        return [.event(.warning, "\(worker) is left out for \(Self.seconds(known.last + pause - now)) s: \(reason)")]
    }

    static func seconds(_ duration: Duration) -> Int { Int((duration / .seconds(1)).rounded(.up)) }
}
