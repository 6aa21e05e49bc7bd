public import OperatorStatus

extension ClusterStatus {
    /// Names of the shards that own slices.
    public var owners: [String] { shards.filter { !$0.slices.isEmpty || !$0.denseSlices.isEmpty }.map(\.name) }

    /// Whether slices are on their way from shard to shard.
    public var isMoving: Bool { !moves.isEmpty }

    /// Slices of class centers that are on their way.
    public var movingSlices: [String] { moves.map(\.slice).filter { $0.hasPrefix("slice") } }

    /// Whether a checkpoint is being written.
    public var isWritingCheckpoint: Bool { task?.kind == "checkpoint" }
}
