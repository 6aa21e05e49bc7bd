/// The status in words that several screens use. Steps are called by their numbers, from 0; `n of N steps` is a count.
extension ClusterStatus {
    /// `8 slices and 2 dense slices`: what is on its way.
    public var movesText: String {
        let dense = moves.count { $0.slice.hasPrefix("dense") }
        let parts = [(moves.count - dense, "slice"), (dense, "dense slice")].filter { $0.0 > 0 }
        return parts.map { "\($0.0) \($0.1)\($0.0 == 1 ? "" : "s")" }.joined(separator: " and ")
    }

    /// `2 shards, 1 worker`: those that are there.
    public var membersText: String {
        let (shardCount, workerCount) = (shards.count { $0.alive }, workers.count { $0.alive })
        return "\(shardCount) shard\(shardCount == 1 ? "" : "s"), \(workerCount) worker\(workerCount == 1 ? "" : "s")"
    }

    /// Whether every step is done, or the run cannot go on.
    public var isOver: Bool { ["finishing", "finished", "failed"].contains(state) }

    /// What a power cut cannot take: of the shards that are there, and who is not.
    public var durableText: String {
        let owners = shards.filter { !($0.slices.isEmpty && $0.denseSlices.isEmpty) }
        let absent = owners.filter { !$0.alive }.map(\.name)
        let present = owners.filter(\.alive)
        func step(_ step: Int) -> String { step < 0 ? "no step yet" : "step \(step)" }
        if absent.isEmpty { return "\(step(safe)) on every shard" }
        let names = absent.joined(separator: ", ")
        let isOrAre = absent.count == 1 ? "is" : "are"
        guard let least = present.map(\.durable).min() else { return "not known: \(names) \(isOrAre) absent" }
        return "\(step(least)) on every shard that is there; \(names) \(isOrAre) absent"
    }
}
