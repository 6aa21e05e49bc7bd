internal import Cluster

/// Attempts that a shard refuses: who is to blame is left out, and nobody waits for a worker that keeps the refusal to itself.
extension CoordinatorMachine {
    /// What members say of why an attempt fails.
    struct AttemptFailure: Sendable {
        /// What a worker reports.
        struct Refusal: Sendable {
            var rank: Int
            var code: RefusalCode
            var message: String
            /// The shard that has refused it; nil: the worker itself.
            var shard: MemberID?
        }

        /// The first report of a refusal by a shard.
        var refusal: Refusal?
        /// Since when a worker reports it.
        var reportedAt: Duration?
        /// Whether that shard has reported since, and says nothing of it: one of an earlier version.
        var isShardSilent = false
        /// Since when a shard is known to have refused the attempt.
        var since: Duration?
    }

    /// What shards have refused in the running attempt; those that know whose fault it is first.
    var refusedByShards: [(shard: MemberID, failure: ShardWaiting.Failure)] {
        let told = owners.compactMap { shard in
            live[shard]?.report?.waiting.flatMap { $0.id == id ? $0.failure : nil }.map { (shard: shard, failure: $0) }
        }
        return told.filter { !$0.failure.ranks.isEmpty } + told.filter { $0.failure.ranks.isEmpty }
    }

    /// A shard reports: by it the coordinator knows whether the shard tells what it has refused.
    mutating func noteSilence(of shard: MemberID, _ report: ShardReport) {
        if failure.refusal?.shard == shard, report.waiting?.id != id { failure.isShardSilent = true }
    }

    /// Ends the running attempt if a shard has refused it.
    mutating func judgeFailure(_ now: Duration) -> [Action] {
        guard let (shard, refused) = refusedByShards.first else {
            guard let refusal = failure.refusal else { return [] }
            // A shard that could not even read a request does not know of which attempt it was.
            let isOverdue = failure.reportedAt.map { $0 + configuration.lease <= now } ?? false
            return failure.isShardSilent || isOverdue ? act(on: refusal, now) : []
        }
        let since = failure.since ?? now
        failure.since = since
        let culprits = refused.ranks.filter(ranks.indices.contains)
        let names = culprits.map { "rank \($0) (\(ranks[$0].worker))" }.joined(separator: ", ")
        let what = "\(names.isEmpty ? "" : names + ": ")\(shard): \(refused.message)"
        if refused.code == .notFinite { return suspect(culprits, what, now) }
        if !culprits.isEmpty, let actions = leaveOut(culprits, "\(shard): \(refused.message)", now) { return actions }
        if let refusal = failure.refusal { return act(on: refusal, now) }
        // Every rank was refused and should have said so.
        guard configuration.stuckAfter > .zero, now >= since + configuration.stuckAfter else { return [] }
        if let actions = leaveOut(Array(ranks.indices), "it does not report what \(what)", now) { return actions }
        postponeAttempt(now)
        return abort(what)
    }

    /// A rank cannot do its part, by its own word.
    mutating func act(on refusal: AttemptFailure.Refusal, _ now: Duration) -> [Action] {
        guard ranks.indices.contains(refusal.rank) else { return [] }
        let what = "rank \(refusal.rank) (\(ranks[refusal.rank].worker)): \(refusal.message)"
        if refusal.code == .notFinite {
            // Of a shard that does not say whose fault it is nothing is known.
            return suspect(refusal.shard == nil ? [refusal.rank] : [], what, now)
        }
        // It would be so again with this worker. If with every other too, the run fails.
        return leaveOut([refusal.rank], refusal.message, now) ?? failJob(refusal.code, what) ?? fail("\(id): \(what)")
    }

    /// Something is not finite. If it is of some ranks only, the step is tried once more without them: what comes again with others is
    /// the step's own doing, and the workers are not to blame.
    mutating func suspect(_ culprits: [Int], _ what: String, _ now: Duration) -> [Action] {
        if suspects?.step != id.step {
            let workers = culprits.filter(ranks.indices.contains).map { ranks[$0].worker }
            if !workers.isEmpty, let actions = leaveOut(culprits, what, now) {
                suspects = (id.step, workers)
                return actions
            }
        }
        if let suspects, suspects.step == id.step {
            for worker in suspects.workers { leftOut[worker] = nil }
        }
        suspects = nil
        return refuseStep(what)
    }
}
