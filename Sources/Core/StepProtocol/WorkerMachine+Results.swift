internal import Cluster

/// The results of a run: written by the worker that the plan names, with the parameters that it holds or gets from the shards.
extension WorkerMachine {
    mutating func writeResults(_ now: Duration) -> [Action] {
        guard let plan, let attempt else { return [] }
        // Its heartbeats say so: who writes is not taken for one that does nothing.
        self.attempt?.clock.queued(at: now)
        // Nothing can be asked until they are written, which may take minutes.
        return [.writeResults(attempt.id, committed: plan.committed)]
    }

    mutating func settleResults(_ id: StepID, _ problem: String?, _ now: Duration) -> [Action] {
        guard let attempt, attempt.id == id, case .running = attempt.state, case .finishing = plan?.activity else {
            return []
        }
        return report(.results(id, problem: problem), now)
    }
}
