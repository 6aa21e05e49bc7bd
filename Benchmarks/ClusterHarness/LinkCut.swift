/// A direction in which messages of a cluster are lost.
public enum LinkCut: String, Sendable, CaseIterable {
    case workerToShard = "one worker → a shard"
    case shardToWorker = "a shard → one worker"
    case workerToCoordinator = "one worker → the coordinator"
    case coordinatorToWorker = "the coordinator → one worker"
    case shardToCoordinator = "a shard → the coordinator"
    case coordinatorToShard = "the coordinator → a shard"
    case shardToShard = "a shard → the other shards"
    case workersToShard = "all workers → a shard"
    case shardToWorkers = "a shard → all workers"
    case workersAndShard = "all workers ↔ a shard"

    /// Who is not heard by whom any more, by the names of the processes' logs.
    func directions(shard: String, shards: [String], workers: [String]) -> [(from: String, to: String)] {
        let coordinator = "coordinator"
        switch self {
        case .workerToShard: return [(workers[0], shard)]
        case .shardToWorker: return [(shard, workers[0])]
        case .workerToCoordinator: return [(workers[0], coordinator)]
        case .coordinatorToWorker: return [(coordinator, workers[0])]
        case .shardToCoordinator: return [(shard, coordinator)]
        case .coordinatorToShard: return [(coordinator, shard)]
        case .shardToShard: return shards.filter { $0 != shard }.map { (shard, $0) }
        case .workersToShard: return workers.map { ($0, shard) }
        case .shardToWorkers: return workers.map { (shard, $0) }
        case .workersAndShard: return workers.flatMap { [($0, shard), (shard, $0)] }
        }
    }
}
