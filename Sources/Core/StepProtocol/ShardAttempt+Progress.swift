internal import Cluster

/// The computations that need every rank, each started once.
extension ShardAttempt {
    typealias Action = ShardMachine<Peer, Payload>.Action

    /// Whether the rank has its forward answer, which everything after it needs.
    func hasForward(_ rank: Int) -> Bool {
        ranks[rank].seen.contains(.backward)
            || (ranks[rank].seen.contains(.forward) && ranks[rank].forward.reply != nil)
    }

    private func all(_ phase: StepPhase) -> Bool { ranks.allSatisfy { $0.seen.contains(phase) } }

    mutating func startSampling(microBatchCount: Int) -> [Action] {
        guard sample == .idle, all(.begin) else { return [] }
        if let message = gap(microBatchCount: microBatchCount) { return fail(.malformed, message) }
        sample = .running
        let inputs = ranks.compactMap { rank in
            rank.labels.flatMap { labels in
                rank.microBatches.map { ShardRankInput(microBatches: $0, payload: labels) }
            }
        }
        return [
            .compute(
                id, .sample(ranks: inputs, learningRate: learningRate, exchange: exchange, head: head))
        ]
    }

    mutating func startBackward() -> [Action] {
        guard backward == .idle, all(.backward) else { return [] }
        backward = .running
        let action = Action.compute(
            id, .backward(forward: ranks.map(\.forward.payloads), backward: ranks.compactMap { $0.backward }))
        for rank in ranks.indices {
            ranks[rank].forward = ForwardParts()
            ranks[rank].backward = nil
        }
        return [action]
    }

    mutating func startDense() -> [Action] {
        guard dense == .idle, all(.dense) else { return [] }
        dense = .running
        let action = Action.compute(id, .dense(ranks.compactMap { $0.dense }))
        for rank in ranks.indices { ranks[rank].dense = nil }
        return [action]
    }

    mutating func startUpdate() -> [Action] {
        guard update == .idle, backward == .done, dense == .done, let input = updateInput else { return [] }
        update = .running
        updateInput = nil
        return [.compute(id, .update(payload: input, learningRate: learningRate))]
    }

    /// Replies to those of `ranks` that wait for `phase`.
    mutating func answer(
        _ ranks: some Sequence<Int>, _ phase: StepPhase, _ outcome: StepReply<Payload>.Outcome
    ) -> [Action] {
        ranks.compactMap { rank in
            if phase != .parameters { self.ranks[rank].lastHeard = clock }  // these may be asked for again and again
            let part = phase == .forward ? self.ranks[rank].forward.part : nil
            return self.ranks[rank].waiting.removeValue(forKey: phase).map {
                .reply($0, StepReply(id: id, rank: rank, phase: phase, part: part, outcome: outcome))
            }
        }
    }

    /// Refuses everyone who waits, now and until a newer attempt begins, and tells the coordinator: it must not depend on those who
    /// are refused to say so.
    mutating func fail(_ code: RefusalCode, _ message: String, blaming ranks: [Int] = []) -> [Action] {
        let blamed = ranks.filter(self.ranks.indices.contains).prefix(ShardWaiting.rankLimit)
        failure = .init(code: code, message: message, ranks: Array(blamed))
        dropPayloads()
        return [.report]
            + StepPhase.allCases.flatMap { answer(self.ranks.indices, $0, .refused(code: code, message: message)) }
    }
}
