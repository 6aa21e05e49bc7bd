internal import Cluster

/// What each worker computes of a step: as much as it has shown that it can.
///
/// The paces by which micro-batches are divided are in the record, so that a coordinator that is started again divides as before. They
/// are replaced by what is measured when that makes steps shorter.
extension CoordinatorMachine {
    /// By this fraction.
    private static let leastGain = 0.05
    /// Steps between two changes, so that what a change has brought is measured before the next.
    private static let stepsBetweenChanges = 8

    /// The shares of a world, by rank.
    func shares(of world: [MemberID]) -> MicroBatchShares {
        let isMeasured = configuration.sharesAreMeasured
        return .balanced(
            configuration.microBatchCount, paces: world.map { isMeasured ? record.paces[$0.number] : nil })
    }

    /// A step is committed: whoever was in it has shown its pace.
    mutating func notePaces(_ results: [StepResult]) -> [Action] {
        guard configuration.sharesAreMeasured else { return [] }
        for (rank, result) in zip(ranks, results) { live[rank.worker]?.pace.note(result) }
        stepsSinceShares += 1
        let world = ranks.map(\.worker)
        let paces = world.map { live[$0]?.pace.secondsPerMicroBatch }
        guard stepsSinceShares >= Self.stepsBetweenChanges, paces.allSatisfy({ $0 != nil }) else { return [] }
        let present = MicroBatchShares(counts: ranks.map(\.microBatches.count))
        let better = MicroBatchShares.balanced(configuration.microBatchCount, paces: paces)
        let gain = present.seconds(paces: paces) - better.seconds(paces: paces)
        let whole = results.map(\.totalSeconds).filter(\.isFinite).max() ?? 0
        guard gain > 0, gain >= Self.leastGain * whole else { return [] }
        stepsSinceShares = 0
        var decided: [Int: Double] = [:]
        for (worker, pace) in zip(world, paces) { decided[worker.number] = pace }
        let list = zip(world, better.counts).prefix(8).map { "\($0) \($1)" }.joined(separator: ", ")
        let others = world.count > 8 ? " and \(world.count - 8) more" : ""
        let text = "micro-batches are divided by measured speed: \(list)\(others)"
        return decide(.paces(decided)) + [.event(.info, text)]
    }
}
