internal import Cluster

/// The flow of an attempt: replies and computations, each leading to the next request.
extension WorkerMachine {
    mutating func receive(_ reply: StepReply<Payload>, from shard: MemberID, _ now: Duration) -> [Action] {
        guard let plan, let attempt, case .running = attempt.state, reply.id == attempt.id, reply.rank == attempt.rank,
            let index = plan.shards.firstIndex(where: { $0.shard == shard }),
            let outstanding = attempt.shards[index].outstanding[reply.phase]
        else { return [] }
        let timing = timing
        switch reply.outcome {
        case .received, .missing, .answered: break
        default: postponeAsking(now)
        }
        switch reply.outcome {
        case .done(let payload):
            progress += 1
            self.attempt?.shards[index].outstanding[reply.phase] = nil
            self.attempt?.shards[index].waited += now - outstanding.firstSent
            self.attempt?.shards[index].answered.insert(reply.phase)
            self.attempt?.shards[index].replies[reply.phase] = payload
            return proceed(reply.phase, index, now)
        case .stale(let current, let committed):
            guard current > attempt.id || committed >= attempt.id.step else { return [] }
            self.attempt?.state = .superseded
            return ask(now)
        case .notReady:
            if attempt.shards[index].answered.contains(.begin) {
                let message = "\(shard) answered begin of \(attempt.id) and knows nothing of it at \(reply.phase)"
                return [.report(.failed(attempt.id, code: .unresponsive, message: message))]
            }
            // The shard has not got the plan yet, which comes at the same moment, or is still making its slices.
            var waiting = outstanding
            waiting.retrySoon(now, timing)
            self.attempt?.shards[index].outstanding[reply.phase] = waiting
            return []
        case .received:
            // It waits for others: it is not silent.
            self.attempt?.shards[index].outstanding[reply.phase]?.postpone(now, timing)
            return []
        case .missing:
            self.attempt?.shards[index].outstanding[reply.phase]?.postpone(now, timing)
            return send(reply.phase, to: index, outstanding.payload)
        case .answered:
            self.attempt?.shards[index].outstanding[reply.phase]?.postpone(now, timing)
            return send(reply.phase, to: index, outstanding.payload, query: .answer)
        case .refused(let code, let message):
            return report(.failed(attempt.id, code: code, message: "\(shard): \(message)", by: shard), now)
        }
    }

    /// A shard has answered `phase`.
    private mutating func proceed(_ phase: StepPhase, _ shard: Int, _ now: Duration) -> [Action] {
        guard let plan, let attempt else { return [] }
        switch phase {
        case .parameters:
            guard attempt.allAnswered(.parameters), let payloads = self.attempt?.takeReplies(.parameters) else {
                return []
            }
            held = .committed(term: plan.id.term, plan.committed)
            return compute(.install(committed: plan.committed, payloads: payloads, after: nil), now)
                + startComputing(now)
        case .begin:
            self.attempt?.shards[shard].replies[.begin] = nil
            switch plan.exchange {
            case .rows: return request(.forward, of: shard, empty, now)
            case .features: return attempt.features.map { request(.forward, of: shard, $0, now) } ?? []
            }
        case .forward:
            guard attempt.allAnswered(.forward), let replies = self.attempt?.takeReplies(.forward) else { return [] }
            self.attempt?.features = nil
            return compute(.softmax(exchange: plan.exchange, replies: replies), now)
        case .backward:
            self.attempt?.shards[shard].replies[.backward] = nil
            guard plan.job != nil, attempt.allAnswered(.backward) else { return [] }
            return report(.done(attempt.result(at: now)), now)
        case .dense:
            guard attempt.allAnswered(.dense), let replies = self.attempt?.takeReplies(.dense) else { return [] }
            return compute(.norm(replies: replies), now)
        case .update:
            guard attempt.allAnswered(.update), let payloads = self.attempt?.takeReplies(.update) else { return [] }
            held = .tentative(attempt.id)
            return compute(.install(committed: attempt.id.step, payloads: payloads, after: attempt.id), now)
                + report(.done(attempt.result(at: now)), now)
        }
    }

    mutating func complete(_ id: StepID, _ result: WorkerResult<Payload>, _ now: Duration) -> [Action] {
        guard let plan, let attempt, attempt.id == id, case .running = attempt.state else { return [] }
        postponeAsking(now)
        progress += 1
        self.attempt?.clock.completed(isBackbone: result.isBackbone, at: now)
        switch result {
        case .labels(let payload):
            return attempt.shards.indices.flatMap { request(.begin, of: $0, payload, now) }
        case .embed(let payload):
            guard plan.exchange == .features else { return [] }
            self.attempt?.features = payload
            return attempt.shards.indices.filter { attempt.shards[$0].answered.contains(.begin) }
                .flatMap { request(.forward, of: $0, payload, now) }
        case .softmax(let payloads, let lossSums):
            self.attempt?.lossSums = lossSums
            let isHeadOnly = plan.job != nil
            return requests(.backward, payloads, .softmax, now) { isHeadOnly ? [] : $0.compute(.backpropagate, now) }
        case .backpropagate(let payloads):
            return requests(.dense, payloads, .backpropagate, now) { _ in [] }
        case .norm(let payload, let gradientNorm):
            self.attempt?.gradientNorm = gradientNorm
            self.attempt?.updateStart = now
            return attempt.shards.indices.flatMap { request(.update, of: $0, payload, now) }
        }
    }

    private mutating func requests(
        _ phase: StepPhase, _ payloads: [Payload], _ task: WorkerTask, _ now: Duration,
        then next: (inout Self) -> [Action]
    ) -> [Action] {
        guard let attempt else { return [] }
        guard payloads.count == attempt.shards.count else {
            let message = "\(task) gave \(payloads.count) payloads for \(attempt.shards.count) shards"
            return fail(attempt.id, task, .internalError, message, now)
        }
        return payloads.indices.flatMap { request(phase, of: $0, payloads[$0], now) } + next(&self)
    }

    mutating func fail(
        _ id: StepID, _ task: WorkerTask, _ code: RefusalCode, _ message: String, _ now: Duration
    ) -> [Action] {
        // Whatever is computed after a failed install would be computed with the wrong parameters.
        if task == .install { held = .none }
        guard let attempt, attempt.id == id || task == .install else { return [] }
        return report(.failed(attempt.id, code: code, message: "\(task): \(message)"), now)
    }

    mutating func tick(_ now: Duration) -> [Action] {
        var actions: [Action] = []
        if let nextAsk, nextAsk <= now { actions += ask(now) }
        guard let attempt else { return actions }
        switch attempt.state {
        case .superseded: break
        case .reported(let report, let nextReport):
            if nextReport <= now { actions += self.report(report, now) }
        case .running:
            for shard in attempt.shards.indices { actions += repeatRequests(to: shard, now) }
        }
        return actions
    }

    /// Nothing is repeated, and nobody complains, while bytes come and go.
    mutating func noteMovement(_ shard: MemberID, _ now: Duration) -> [Action] {
        progress += 1
        guard let index = plan?.shards.firstIndex(where: { $0.shard == shard }),
            attempt?.shards.indices.contains(index) == true, let phases = attempt?.shards[index].outstanding.keys
        else { return [] }
        let timing = timing
        for phase in phases { attempt?.shards[index].outstanding[phase]?.postpone(now, timing) }
        return []
    }

    private mutating func repeatRequests(to shard: Int, _ now: Duration) -> [Action] {
        guard let plan, let attempt else { return [] }
        var actions: [Action] = []
        for (phase, request) in attempt.shards[shard].outstanding.sorted(by: { $0.key < $1.key }) {
            var request = request
            if request.nextSend <= now {
                request.nextSend = now + timing.retryInterval
                actions += send(
                    phase, to: shard, request.payload, query: request.isTurnedDown ? .none : .isThere)
                request.isTurnedDown = false
            }
            if request.nextComplaint <= now {
                request.nextComplaint = now + timing.requestDeadline
                let seconds = Int((now - request.firstSent) / .seconds(1))
                let message = "\(plan.shards[shard].shard) has not answered \(phase) of \(attempt.id) for \(seconds) s"
                actions.append(.report(.failed(attempt.id, code: .unresponsive, message: message)))
            }
            self.attempt?.shards[shard].outstanding[phase] = request
        }
        return actions
    }
}

extension WorkerResult {
    fileprivate var isBackbone: Bool {
        switch self {
        case .embed, .backpropagate: true
        case .labels, .softmax, .norm: false
        }
    }
}
