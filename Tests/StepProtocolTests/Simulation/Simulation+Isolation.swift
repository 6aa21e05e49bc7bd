internal import Cluster
internal import Determinism
internal import StepProtocol

/// A shard that loses all workers and keeps the coordinator.
struct Isolation {
    /// Whether it is not heard by workers, or does not hear them, or both.
    var isMute: Bool
    var isDeaf: Bool
    var end: Int64
}

/// Shards that no worker reaches while the coordinator hears them.
extension Simulation {
    func isolate() {
        if isCalm || isFinished { return }
        // Mostly where the others can go on without it.
        if !isCopied, isolationRandom.below(16) != 0 { return queue.insert(.isolation, at: now + 200) }
        queue.insert(.isolation, at: now + 2_000 + Int64(isolationRandom.below(10_000)))
        let nodes = shards.keys.sorted()
        guard nodes.count > 1 else { return }
        let node = nodes[Int(isolationRandom.below(UInt64(nodes.count)))]
        let direction = isolationRandom.below(3)
        happen("no worker reaches a shard", node)
        let time = isolationRandom.below(2) == 0 ? Int64.max / 2 : 2_000 + Int64(isolationRandom.below(20_000))
        isolated = [node: Isolation(isMute: direction != 0, isDeaf: direction != 1, end: now + time)]
    }

    func isIsolated(_ sender: Int, _ receiver: Int) -> Bool {
        if isolated.isEmpty { return false }
        if let shard = isolated[sender], shard.isMute, shard.end > now { return workers[receiver] != nil }
        if let shard = isolated[receiver], shard.isDeaf, shard.end > now { return workers[sender] != nil }
        return false
    }

    /// Whether every slice has a second copy that counts.
    private var isCopied: Bool {
        coordinator?.machine.status(at: instant).copies.map { $0.complete == $0.slices && $0.slices > 0 } ?? false
    }

    /// Calm does not mend what the cluster can do without.
    func endIsolations() { if !isCopied { isolated = [:] } }

    /// What an operator does who is told to.
    func mendLinks() {
        guard let machine = coordinator?.machine, !isolated.isEmpty else { return }
        var text = machine.waitingFor(instant)
        // One that is left out cannot keep copies.
        if case .wait(let reason) = machine.activity, reason.contains("second copies") { text = reason }
        if text.isEmpty || text.contains("its slices go to") { return }
        note("the operator mends the network: \(text)")
        isolated = [:]
    }
}
