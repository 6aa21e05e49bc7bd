/// Answers to questions about requests: small, whatever the payloads are.
extension ShardAttempt {
    /// What is to be said to a query, or nil if the answer itself is wanted and is there or can be made.
    mutating func answer(
        to request: StepRequest<Payload>, from peer: Peer, _ empty: Payload
    ) -> StepReply<Payload>.Outcome? {
        let (rank, phase) = (request.rank, request.phase)
        guard isThere(request) else { return .missing }
        if phase == .backward, !isHeadOnly { return .done(empty) }
        if phase == .forward, !ranks[rank].forward.isLast(request.features) { return nil }  // stale
        if isComputed(phase, rank) { return request.query == .answer ? nil : .answered }
        ranks[rank].waiting[phase] = peer  // the answer goes over the latest connection
        return .received
    }

    private func isThere(_ request: StepRequest<Payload>) -> Bool {
        let rank = ranks[request.rank]
        switch request.phase {
        // Any rank's `update` is as good.
        case .update: return update != .idle || updateInput != nil
        case .forward: return rank.seen.contains(.backward) || rank.forward.contains(request.features)
        default: return rank.seen.contains(request.phase)
        }
    }

    private func isComputed(_ phase: StepPhase, _ rank: Int) -> Bool {
        switch phase {
        case .parameters: ranks[rank].waiting[.parameters] == nil
        case .begin: sampleReply != nil
        case .forward: ranks[rank].forward.reply != nil
        case .backward: !isHeadOnly || updateReply != nil
        case .dense: denseReply != nil
        case .update: updateReply != nil
        }
    }
}
