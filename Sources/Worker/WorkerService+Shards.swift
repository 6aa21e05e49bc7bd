import Cluster
import Logging
import Model
import ProcessSupport
import Setup
import StepProtocol
import Wire

/// The connections to the shards.
extension WorkerService {
    /// Connects to the shards of a plan, at the endpoints where they are now, and to no others.
    func connect(_ plan: Plan) {
        switch plan.activity {
        case .train, .finishing: break
        case .wait, .task, .finished, .failed: return
        }
        guard let welcome, let setup else { return }
        let endpoints = Dictionary(plan.shards.map { ($0.shard, $0.endpoint) }) { first, _ in first }
        for (shard, connection) in shards where endpoints[shard] != connection.endpoint { disconnect(shard) }
        for (member, endpoint) in endpoints where shards[member] == nil {
            var hello = hello
            hello.embeddingSize = setup.head.embeddingSize
            hello.classCount = setup.head.classCount
            hello.configurationHash = welcome.configurationHash
            hello.previousNumber = welcome.member.number
            var options = TransportOptions()
            options.arrivalByteCount = 4 << 20
            do {
                shards[member] = try ClientConnection(
                    connect: endpoint, hello: hello, options: options, security: security.shards, thread: io,
                    events: mailbox.sink { .shard(member, $0) })
            } catch {
                log.error("\(member) cannot be reached: \(error)")
            }
        }
    }

    func disconnect(_ shard: MemberID) {
        shards.removeValue(forKey: shard)?.close()
        unsent[shard] = nil
        links[shard] = nil
    }

    /// A shard's rows are computed with while the next ones come in: what is computed is used when all are there.
    func arrived(_ reply: ArrivingReply, from shard: MemberID) {
        guard let model, let plan = machine?.plan, plan.exchange == .rows, reply.phase == .forward,
            reply.id == machine?.current, let index = plan.shards.firstIndex(where: { $0.shard == shard })
        else { return }
        let slices = plan.shards[index].slices
        compute.submit { model.value.take(reply, of: index, slices: slices) }
    }
}
