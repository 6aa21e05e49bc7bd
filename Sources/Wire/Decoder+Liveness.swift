internal import CWire
internal import Cluster
import StepProtocol

/// What members say of whom they wait for, of what they do and of what is prepared.
extension Decoder {
    static func shardWaiting(_ c: Partialfc__ShardWaiting) throws -> ShardWaiting {
        ShardWaiting(
            id: try step(c.id), isBusy: c.is_busy != 0,
            ranks: try entries(c.ranks, c.n_ranks, "ranks", limit: ShardWaiting.rankLimit).map {
                ShardWaiting.Rank(
                    rank: try Field.number($0.rank, "rank"), phase: try Field.value(StepPhase.self, $0.phase, "phase"),
                    seconds: try Field.duration($0.seconds, "seconds"))
            }, failure: try c.failure.map { try shardFailure($0.pointee) })
    }

    private static func shardFailure(_ c: Partialfc__ShardWaiting__Failure) throws -> ShardWaiting.Failure {
        let count = try Field.count(c.n_ranks, "ranks", limit: ShardWaiting.rankLimit)
        return ShardWaiting.Failure(
            code: try Field.value(RefusalCode.self, c.code, "code"),
            message: try text(c.message, "message", limit: Bound.textBytes),
            ranks: try UnsafeBufferPointer(start: c.ranks, count: count).map { try Field.number($0, "rank") })
    }

    static func workerActivity(_ c: Partialfc__WorkerActivity) throws -> WorkerActivity {
        let count = try Field.count(c.n_waits_for, "waits_for", limit: Bound.members)
        return WorkerActivity(
            id: c.id == nil ? nil : try step(c.id), computes: c.computes != 0,
            progress: try Field.number(c.progress, "progress"),
            waitsFor: try UnsafeBufferPointer(start: c.waits_for, count: count).map {
                try Field.number($0, "number of a shard")
            })
    }

    static func stepPrepared(_ c: Partialfc__StepPrepared) throws -> StepPrepared {
        StepPrepared(member: try member(c.member), incarnation: c.incarnation, id: try step(c.id))
    }
}
