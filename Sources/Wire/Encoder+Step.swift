internal import CWire
internal import Cluster
import StepProtocol
import Tensors

extension Encoder {
    func plan(_ plan: Plan) throws -> UnsafeMutablePointer<Partialfc__Plan> {
        try arena.make(partialfc__plan__init) {
            $0.id = try step(plan.id)
            $0.committed = try Field.orNone(plan.committed, "committed")
            $0.map_version = try Field.number(plan.mapVersion, "map_version")
            $0.exchange = UInt32(plan.exchange.rawValue)
            $0.learning_rate = try Field.learningRate(plan.learningRate)
            $0.n_ranks = try Field.count(plan.ranks.count, "ranks", limit: Bound.members)
            $0.ranks = arena.messages(
                try plan.ranks.map { rank in
                    try arena.make(partialfc__plan__rank__init) {
                        $0.worker = try member(rank.worker)
                        $0.micro_batches = try range(rank.microBatches, "micro_batches")
                        $0.incarnation = rank.incarnation ?? 0
                    }
                })
            $0.n_shards = try Field.count(plan.shards.count, "shards", limit: Bound.members)
            $0.shards = arena.messages(
                try plan.shards.map { shard in
                    try arena.make(partialfc__plan__shard__init) {
                        $0.shard = try member(shard.shard)
                        $0.endpoint = try arena.text(shard.endpoint, "endpoint")
                        $0.n_slices = shard.slices.ranges.count
                        $0.slices = try ranges(shard.slices, "slices")
                        $0.n_dense_slices = shard.denseSlices.ranges.count
                        $0.dense_slices = try ranges(shard.denseSlices, "dense_slices")
                        $0.n_kept = shard.kept.ranges.count
                        $0.kept = try ranges(shard.kept, "kept")
                        $0.n_kept_dense = shard.keptDense.ranges.count
                        $0.kept_dense = try ranges(shard.keptDense, "kept_dense")
                    }
                })
            switch plan.activity {
            case .train: $0.activity = 0
            case .wait(let reason):
                $0.activity = 1
                $0.reason = try arena.prose(reason, "reason")
            case .finishing(let writer):
                // A process that does not write results may go.
                $0.activity = 2
                $0.finishing = try arena.make(partialfc__finishing__init) {
                    if let writer { $0.writer = try member(writer) }
                }
            case .finished: $0.activity = 2
            case .failed(let reason):
                $0.activity = 3
                $0.reason = try arena.prose(reason, "reason")
            case .task(let task):
                $0.activity = 4
                $0.task = try self.task(task)
            }
            $0.revision = try Field.number(plan.revision, "revision")
            $0.class_version = try Field.number(plan.classVersion, "class_version")
            $0.safe = try Field.orNone(plan.safe, "safe")
            $0.n_moves = plan.moves.count
            $0.moves = try moves(plan.moves)
            $0.past = plan.past
            $0.coordinator = plan.coordinator
            if let job = plan.job { $0.job = try planJob(job) }
            if let head = plan.head { $0.head = try self.head(head) }
            if let id = plan.committedID { $0.committed_id = try step(id) }
        }
    }

    private func head(_ values: HeadValues) throws -> UnsafeMutablePointer<Partialfc__HeadValues> {
        let values = try Field.head(values)
        return arena.make(partialfc__head_values__init) {
            $0.sample_rate = values.sampleRate
            $0.m1 = values.m1
            $0.m2 = values.m2
            $0.m3 = values.m3
            $0.scale = values.scale
            $0.interclass_filter = values.interclassFilter
        }
    }

    func stepDone(_ done: StepDone) throws -> UnsafeMutablePointer<Partialfc__StepDone> {
        let result = done.result
        try Field.lossSums(result.lossSums.count, microBatches: result.microBatches)
        return try arena.make(partialfc__step_done__init) {
            $0.member = try member(done.member)
            $0.incarnation = done.incarnation
            $0.id = try step(result.id)
            $0.micro_batches = try range(result.microBatches, "micro_batches")
            $0.n_loss_sums = try Field.count(result.lossSums.count, "loss_sums", limit: Bound.lossSums)
            $0.loss_sums = arena.array(result.lossSums)
            $0.gradient_norm = try Field.measure(result.gradientNorm, "gradient_norm")
            $0.backbone_seconds = try Field.measure(result.backboneSeconds, "backbone_seconds")
            $0.exchange_seconds = try Field.measure(result.exchangeSeconds, "exchange_seconds")
            $0.total_seconds = try Field.measure(result.totalSeconds, "total_seconds")
            $0.update_seconds = try Field.measure(result.updateSeconds, "update_seconds")
            $0.n_shard_seconds = try Field.count(result.shardSeconds.count, "shard_seconds", limit: Bound.members)
            $0.shard_seconds = arena.array(try result.shardSeconds.map { try Field.measure($0, "shard_seconds") })
            $0.learning_rate = try Field.learningRate(result.learningRate ?? 0)
        }
    }

    func stepFailed(_ failed: StepFailed) throws -> UnsafeMutablePointer<Partialfc__StepFailed> {
        try arena.make(partialfc__step_failed__init) {
            $0.member = try member(failed.member)
            $0.incarnation = failed.incarnation
            $0.id = try step(failed.id)
            $0.code = UInt32(failed.code.rawValue)
            $0.message = try arena.prose(failed.message, "message")
            if let shard = failed.refusedBy { $0.refused_by = try member(shard) }
        }
    }

    func stepRequest(
        _ request: StepRequest<[Tensor]>, incarnation: UInt64
    ) throws -> UnsafeMutablePointer<Partialfc__StepRequest> {
        try Field.rank(request.rank, worldSize: request.worldSize)
        return try arena.make(partialfc__step_request__init) {
            $0.incarnation = incarnation
            $0.id = try step(request.id)
            $0.rank = try Field.small(request.rank, "rank")
            $0.world_size = try Field.small(request.worldSize, "world_size")
            $0.map_version = try Field.number(request.mapVersion, "map_version")
            $0.phase = UInt32(request.phase.rawValue)
            $0.committed = try Field.orNone(request.committed, "committed")
            $0.exchange = UInt32(request.exchange.rawValue)
            $0.learning_rate = try Field.learningRate(request.learningRate)
            $0.micro_batches = try range(request.microBatches, "micro_batches")
            $0.query = UInt32(request.query.rawValue)
            if let id = request.committedID { $0.committed_id = try step(id) }
            if let part = request.part { $0.part = try range(part, "part") }
        }
    }

    func stepReply(_ reply: StepReply<[Tensor]>) throws -> UnsafeMutablePointer<Partialfc__StepReply> {
        try arena.make(partialfc__step_reply__init) {
            $0.id = try step(reply.id)
            $0.rank = try Field.small(reply.rank, "rank")
            $0.phase = UInt32(reply.phase.rawValue)
            if let part = reply.part { $0.part = try range(part, "part") }
            switch reply.outcome {
            case .done:
                $0.done = arena.make(partialfc__acknowledged__init)
                $0.outcome_case = PARTIALFC__STEP_REPLY__OUTCOME_DONE
            case .stale(let current, let committed):
                $0.stale = try position(current, committed)
                $0.outcome_case = PARTIALFC__STEP_REPLY__OUTCOME_STALE
            case .notReady(let current, let committed):
                $0.not_ready = try position(current, committed)
                $0.outcome_case = PARTIALFC__STEP_REPLY__OUTCOME_NOT_READY
            case .refused(let code, let message):
                $0.refused = try refused(code, message)
                $0.outcome_case = PARTIALFC__STEP_REPLY__OUTCOME_REFUSED
            case .received:
                $0.received = arena.make(partialfc__acknowledged__init)
                $0.outcome_case = PARTIALFC__STEP_REPLY__OUTCOME_RECEIVED
            case .missing:
                $0.missing = arena.make(partialfc__acknowledged__init)
                $0.outcome_case = PARTIALFC__STEP_REPLY__OUTCOME_MISSING
            case .answered:
                $0.answered = arena.make(partialfc__acknowledged__init)
                $0.outcome_case = PARTIALFC__STEP_REPLY__OUTCOME_ANSWERED
            }
        }
    }

    private func position(
        _ current: StepID, _ committed: Int
    ) throws -> UnsafeMutablePointer<Partialfc__StepReply__Position> {
        try arena.make(partialfc__step_reply__position__init) {
            $0.current = try step(current)
            $0.committed = try Field.orNone(committed, "committed")
        }
    }

    func step(_ id: StepID) throws -> UnsafeMutablePointer<Partialfc__StepID> {
        try arena.make(partialfc__step_id__init) {
            $0.step = try Field.number(id.step, "step")
            $0.attempt = try Field.number(id.attempt, "attempt")
            $0.term = try Field.number(id.term, "term")
        }
    }

    func range(_ range: Range<Int>, _ field: String) throws -> UnsafeMutablePointer<Partialfc__Range> {
        try arena.make(partialfc__range__init) {
            $0.lower = try Field.small(range.lowerBound, "lower of \(field)")
            $0.upper = try Field.small(range.upperBound, "upper of \(field)")
        }
    }
}
