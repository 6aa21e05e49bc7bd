/// Answers to questions about requests: small, whatever the payloads are.
extension ShardAttempt {
    /// What is to be said to a query, or nil if the answer itself is wanted and is there or can be made.
    mutating func answer(
        to request: StepRequest<Payload>, from peer: Peer, _ empty: Payload
    ) -> StepReply<Payload>.Outcome? {
        let (rank, phase) = (request.rank, request.phase)
        guard isThere(phase, rank) else { return .missing }
        if phase == .backward, !isHeadOnly { return .done(empty) }
        if phase == .forward, ranks[rank].seen.contains(.backward) { return nil }  // stale
        if isComputed(phase, rank) { return request.query == .answer ? nil : .answered }
        ranks[rank].waiting[phase] = peer  // the answer goes over the latest connection
        return .received
    }

    private func isThere(_ phase: StepPhase, _ rank: Int) -> Bool {
        // Any rank's `update` is as good.
        if phase == .update { return update != .idle || updateInput != nil }
        return ranks[rank].seen.contains(phase)
    }

    private func isComputed(_ phase: StepPhase, _ rank: Int) -> Bool {
        switch phase {
        case .parameters: ranks[rank].waiting[.parameters] == nil
        case .begin: sampleReply != nil
        case .forward: ranks[rank].forwardReply != nil
        case .backward: !isHeadOnly || updateReply != nil
        case .dense: denseReply != nil
        case .update: updateReply != nil
        }
    }
}
