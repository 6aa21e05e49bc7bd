import Logging
import PartialFC
import RunSetup
import StepProtocol
import Wire

/// The connections to the shards.
extension WorkerService {
    /// Connects to the shards of a plan, at the endpoints where they are now, and to no others.
    func connect(_ plan: Plan) {
        guard plan.activity == .train, let welcome, let setup else { return }
        let endpoints = Dictionary(plan.shards.map { ($0.shard, $0.endpoint) }) { first, _ in first }
        for (shard, connection) in shards where endpoints[shard] != connection.endpoint {
            connection.close()
            shards[shard] = nil
            unsent[shard] = nil
        }
        for (member, endpoint) in endpoints where shards[member] == nil {
            var hello = hello
            hello.embeddingSize = setup.head.embeddingSize
            hello.classCount = setup.head.classCount
            hello.configurationHash = welcome.configurationHash
            hello.previousNumber = welcome.member.number
            do {
                shards[member] = try ClientConnection(
                    connect: endpoint, hello: hello, thread: io, events: mailbox.sink { .shard(member, $0) })
            } catch {
                log.error("\(member) cannot be reached: \(error)")
            }
        }
    }
}
