internal import CWire
internal import Cluster
import StepProtocol

/// What members say of whom they wait for, of what they do and of what is prepared.
extension Encoder {
    func shardWaiting(_ waiting: ShardWaiting) throws -> UnsafeMutablePointer<Partialfc__ShardWaiting> {
        try arena.make(partialfc__shard_waiting__init) {
            $0.id = try step(waiting.id)
            $0.is_busy = waiting.isBusy ? 1 : 0
            $0.n_ranks = try Field.count(waiting.ranks.count, "ranks", limit: ShardWaiting.rankLimit)
            $0.ranks = arena.messages(
                try waiting.ranks.map { rank in
                    try arena.make(partialfc__shard_waiting__rank__init) {
                        $0.rank = try Field.small(rank.rank, "rank")
                        $0.phase = UInt32(rank.phase.rawValue)
                        $0.seconds = try Field.measure(rank.seconds, "seconds")
                    }
                })
            if let failure = waiting.failure { $0.failure = try shardFailure(failure) }
        }
    }

    private func shardFailure(
        _ failure: ShardWaiting.Failure
    ) throws -> UnsafeMutablePointer<Partialfc__ShardWaiting__Failure> {
        try arena.make(partialfc__shard_waiting__failure__init) {
            $0.code = UInt32(failure.code.rawValue)
            $0.message = try arena.prose(failure.message, "message")
            $0.n_ranks = try Field.count(failure.ranks.count, "ranks", limit: ShardWaiting.rankLimit)
            $0.ranks = arena.array(try failure.ranks.map { try Field.small($0, "rank") })
        }
    }

    func workerActivity(_ activity: WorkerActivity) throws -> UnsafeMutablePointer<Partialfc__WorkerActivity> {
        try arena.make(partialfc__worker_activity__init) {
            if let id = activity.id { $0.id = try step(id) }
            $0.computes = activity.computes ? 1 : 0
            $0.progress = try Field.number(activity.progress, "progress")
            $0.n_waits_for = try Field.count(activity.waitsFor.count, "waits_for", limit: Bound.members)
            $0.waits_for = arena.array(try activity.waitsFor.map { try Field.small($0, "number of a shard") })
        }
    }

    func stepPrepared(_ prepared: StepPrepared) throws -> UnsafeMutablePointer<Partialfc__StepPrepared> {
        try arena.make(partialfc__step_prepared__init) {
            $0.member = try member(prepared.member)
            $0.incarnation = prepared.incarnation
            $0.id = try step(prepared.id)
        }
    }
}
