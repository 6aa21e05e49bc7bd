internal import Cluster

/// What a shard gives of its slices to the shards that receive them.
extension ShardMachine {
    /// Requests that are held at most; the newest win.
    private static var heldTransferLimit: Int { 32 }

    /// Answers at once, or holds the request until the step is committed or undone. One that does not fit the plan is
    /// dropped: whoever asks repeats it under the plan that it then has.
    mutating func transfer(_ request: TransferRequest, to peer: Peer) -> [Action] {
        guard isFor(request) else { return [] }
        if mayAnswer(request) { return answer(request, peer) }
        heldTransfers.removeAll { $0.request.slice == request.slice && $0.request.part == request.part }
        heldTransfers.append((peer, request))
        if heldTransfers.count > Self.heldTransferLimit { heldTransfers.removeFirst() }
        return []
    }

    mutating func releaseTransfers() -> [Action] {
        guard !heldTransfers.isEmpty else { return [] }
        var actions: [Action] = []
        var held: [(peer: Peer, request: TransferRequest)] = []
        for (peer, request) in heldTransfers where isFor(request) {
            if mayAnswer(request) { actions += answer(request, peer) } else { held.append((peer, request)) }
        }
        heldTransfers = held
        return actions
    }

    private func isFor(_ request: TransferRequest) -> Bool {
        guard let plan, let mapVersion, request.term == plan.id.term, request.mapVersion == mapVersion else {
            return false
        }
        if plan.moves.contains(where: { $0.from == member && $0.slice == request.slice }) { return true }
        return plan.keeper(of: request.slice) != nil && owned.contains(request.slice)
    }

    /// Records are small and needed to keep up; chunks must not show an update that may be undone, nor take more of a
    /// step's time than they were given.
    private func mayAnswer(_ request: TransferRequest) -> Bool {
        if runningTask != nil || mustRestore { return false }
        guard case .chunk = request.part else { return true }
        if restored != nil || (attempt?.backward ?? .idle) != .idle { return false }
        return plan?.activity != .train || transfersThisStep < transfersPerStep
    }

    /// What the shard holds is of a past that does not count any more. While going back fails, the plan says that it waits, and names no task.
    private var mustRestore: Bool {
        if let known = plan?.past, known != 0, past != 0, past != known { return true }
        guard case .task(let task)? = plan?.activity, case .restore = task.kind else { return false }
        return !hasDone(task)
    }

    private mutating func answer(_ request: TransferRequest, _ peer: Peer) -> [Action] {
        if case .chunk = request.part, plan?.activity == .train { transfersThisStep += 1 }
        return [.transfer(peer, request)]
    }
}
