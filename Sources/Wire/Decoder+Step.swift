internal import CWire
internal import Cluster
import StepProtocol
import Tensors

extension Decoder {
    static func plan(_ c: Partialfc__Plan) throws -> Plan {
        let reason = try text(c.reason, "reason", limit: Bound.textBytes)
        let activity: Plan.Activity
        switch c.activity {
        case 0: activity = .train
        case 1: activity = .wait(reason: reason)
        case 2:
            if let finishing = c.finishing {
                activity = .finishing(writer: try finishing.pointee.writer.map { try member($0) })
            } else {
                activity = .finished
            }
        case 3: activity = .failed(reason: reason)
        case 4: activity = .task(try task(c.task))
        default: throw WireError(.field, "activity is \(c.activity), which names nothing")
        }
        let ranks = try entries(c.ranks, c.n_ranks, "ranks", limit: Bound.members).map { rank in
            Plan.Rank(
                worker: try member(rank.worker), microBatches: try range(rank.micro_batches, "micro_batches"),
                incarnation: rank.incarnation == 0 ? nil : rank.incarnation)
        }
        let shards = try entries(c.shards, c.n_shards, "shards", limit: Bound.members).map { shard in
            Plan.Shard(
                shard: try member(shard.shard), endpoint: try text(shard.endpoint, "endpoint"),
                slices: try slices(shard.slices, shard.n_slices, "slices"),
                denseSlices: try slices(shard.dense_slices, shard.n_dense_slices, "dense_slices"),
                kept: try slices(shard.kept, shard.n_kept, "kept"),
                keptDense: try slices(shard.kept_dense, shard.n_kept_dense, "kept_dense"))
        }
        return Plan(
            revision: try Field.number(c.revision, "revision"), id: try step(c.id),
            committed: try Field.orNone(c.committed, "committed"),
            mapVersion: try Field.number(c.map_version, "map_version"),
            classVersion: try Field.number(c.class_version, "class_version"), safe: try Field.orNone(c.safe, "safe"),
            exchange: try Field.value(Exchange.self, c.exchange, "exchange"),
            learningRate: try Field.learningRate(c.learning_rate), ranks: ranks, shards: shards,
            moves: try moves(c.moves, c.n_moves), activity: activity, past: c.past, coordinator: c.coordinator,
            committedID: try committedID(c.committed_id, c.committed),
            job: try c.job.map { try planJob($0.pointee) }, head: try c.head.map { try head($0.pointee) })
    }

    private static func head(_ c: Partialfc__HeadValues) throws -> HeadValues {
        try Field.head(
            HeadValues(
                sampleRate: c.sample_rate, m1: c.m1, m2: c.m2, m3: c.m3, scale: c.scale,
                interclassFilter: c.interclass_filter))
    }

    static func stepDone(_ c: Partialfc__StepDone) throws -> StepDone {
        let microBatches = try range(c.micro_batches, "micro_batches")
        let count = try Field.count(c.n_loss_sums, "loss_sums", limit: Bound.lossSums)
        try Field.lossSums(count, microBatches: microBatches)
        let result = StepResult(
            id: try step(c.id), microBatches: microBatches,
            lossSums: Array(UnsafeBufferPointer(start: c.loss_sums, count: count)),
            gradientNorm: try Field.measure(c.gradient_norm, "gradient_norm"),
            backboneSeconds: try Field.duration(c.backbone_seconds, "backbone_seconds"),
            exchangeSeconds: try Field.duration(c.exchange_seconds, "exchange_seconds"),
            totalSeconds: try Field.duration(c.total_seconds, "total_seconds"),
            updateSeconds: try Field.duration(c.update_seconds, "update_seconds"),
            shardSeconds: try UnsafeBufferPointer(
                start: c.shard_seconds,
                count: Field.count(c.n_shard_seconds, "shard_seconds", limit: Bound.members)
            ).map { try Field.duration($0, "shard_seconds") },
            learningRate: c.learning_rate == 0 ? nil : try Field.learningRate(c.learning_rate))
        return StepDone(member: try member(c.member), incarnation: c.incarnation, result: result)
    }

    static func stepFailed(_ c: Partialfc__StepFailed) throws -> StepFailed {
        StepFailed(
            member: try member(c.member), incarnation: c.incarnation, id: try step(c.id),
            code: try Field.value(RefusalCode.self, c.code, "code"),
            message: try text(c.message, "message", limit: Bound.textBytes),
            refusedBy: c.refused_by == nil ? nil : try member(c.refused_by))
    }

    static func stepRequest(_ c: Partialfc__StepRequest, payload: [Tensor]) throws -> WireMessage {
        var request = StepRequest(
            id: try step(c.id), rank: try Field.number(c.rank, "rank"),
            worldSize: try Field.number(c.world_size, "world_size"),
            mapVersion: try Field.number(c.map_version, "map_version"),
            phase: try Field.value(StepPhase.self, c.phase, "phase"),
            committed: try Field.orNone(c.committed, "committed"),
            exchange: try Field.value(Exchange.self, c.exchange, "exchange"),
            learningRate: try Field.learningRate(c.learning_rate),
            microBatches: try range(c.micro_batches, "micro_batches"), payload: payload)
        request.committedID = try committedID(c.committed_id, c.committed)
        request.query = try Field.value(StepQuery.self, c.query, "query")
        request.part = try c.part.map { try range($0, "part") }
        guard request.query == .none || payload.isEmpty else {
            throw WireError(.tensor, "a query has no tensors, but \(payload.count) came with it")
        }
        try Field.rank(request.rank, worldSize: request.worldSize)
        return .stepRequest(request, incarnation: c.incarnation)
    }

    static func stepReply(_ c: Partialfc__StepReply, payload: [Tensor]) throws -> StepReply<[Tensor]> {
        let outcome: StepReply<[Tensor]>.Outcome
        switch c.outcome_case {
        case PARTIALFC__STEP_REPLY__OUTCOME_DONE: outcome = .done(payload)
        case PARTIALFC__STEP_REPLY__OUTCOME_STALE:
            let (current, committed) = try position(c.stale, "stale")
            outcome = .stale(current: current, committed: committed)
        case PARTIALFC__STEP_REPLY__OUTCOME_NOT_READY:
            let (current, committed) = try position(c.not_ready, "not_ready")
            outcome = .notReady(current: current, committed: committed)
        case PARTIALFC__STEP_REPLY__OUTCOME_REFUSED:
            let refusal = try refusal(Field.required(c.refused, "refused"))
            outcome = .refused(code: refusal.code, message: refusal.message)
        case PARTIALFC__STEP_REPLY__OUTCOME_RECEIVED: outcome = .received
        case PARTIALFC__STEP_REPLY__OUTCOME_MISSING: outcome = .missing
        case PARTIALFC__STEP_REPLY__OUTCOME_ANSWERED: outcome = .answered
        default: throw WireError(.field, "outcome is missing")
        }
        if case .done = outcome {
        } else if !payload.isEmpty {
            throw WireError(.tensor, "only a step_reply that is done has tensors, but \(payload.count) came with it")
        }
        return StepReply(
            id: try step(c.id), rank: try Field.number(c.rank, "rank"),
            phase: try Field.value(StepPhase.self, c.phase, "phase"), part: try c.part.map { try range($0, "part") },
            outcome: outcome)
    }

    /// Which attempt the committed step is of, if that is said.
    private static func committedID(
        _ pointer: UnsafeMutablePointer<Partialfc__StepID>?, _ committed: Int64
    ) throws -> StepID? {
        guard pointer != nil else { return nil }
        let id = try step(pointer)
        guard id.step == committed else {
            throw WireError(.field, "committed_id is of step \(id.step), committed is \(committed)")
        }
        return id
    }

    private static func position(
        _ pointer: UnsafeMutablePointer<Partialfc__StepReply__Position>?, _ field: String
    ) throws -> (StepID, Int) {
        let c = try Field.required(pointer, field)
        return (try step(c.current), try Field.orNone(c.committed, "committed"))
    }

    static func step(_ pointer: UnsafeMutablePointer<Partialfc__StepID>?) throws -> StepID {
        let c = try Field.required(pointer, "id of a step")
        return StepID(
            term: try Field.number(c.term, "term"), step: try Field.number(c.step, "step"),
            attempt: try Field.number(c.attempt, "attempt"))
    }

    static func range(_ pointer: UnsafeMutablePointer<Partialfc__Range>?, _ field: String) throws -> Range<Int> {
        let c = try Field.required(pointer, field)
        let lower: Int = try Field.number(c.lower, "lower of \(field)")
        let upper: Int = try Field.number(c.upper, "upper of \(field)")
        guard lower <= upper else { throw WireError(.field, "\(field) runs from \(lower) down to \(upper)") }
        return lower..<upper
    }
}
