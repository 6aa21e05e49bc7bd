extension ClusterStatus {
    /// Names of the shards and workers on a host that were heard of within their lease.
    public func aliveMembers(on host: String) -> [String] {
        shards.filter { $0.alive && $0.host == host }.map(\.name)
            + workers.filter { $0.alive && $0.host == host }.map(\.name)
    }
}
