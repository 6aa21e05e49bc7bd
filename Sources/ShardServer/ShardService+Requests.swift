import Logging
import MemberSupport
import ProcessSupport
import ShardState
import StepProtocol
import Tensors
import Wire

/// What workers, other shards and operators ask of the shard.
extension ShardService {
    func serve(_ message: WireMessage, _ peer: StepPeer) {
        switch message {
        case .hello(let hello): greet(hello, peer)
        case .stepRequest(let request, _):
            guard machine != nil else {
                let current = StepID(step: 0, attempt: 0)
                let reply = StepReply<[Tensor]>(
                    id: request.id, rank: request.rank, phase: request.phase,
                    outcome: .notReady(current: current, committed: -1))
                server.send(.stepReply(reply), to: peer.peer, request: peer.request)
                return
            }
            guard let sender = senders[peer.peer] else {
                server.forget(peer.peer)
                server.refuse(peer.peer, request: peer.request, Refusal(.notWelcomed, "say hello as a worker first"))
                return
            }
            drive(.request(peer, request, from: sender))
        case .transferRequest(let request): drive(.transfer(peer, request))
        case .readRows(let ids):
            answer(peer) { model throws(Refusal) in
                let (rows, momentum, steps) = try model.read(ids: ids)
                return .rows(rows: rows, momentum: momentum, steps: steps)
            }
        case .readSliceHashes: answer(peer) { model throws(Refusal) in .sliceHashes(model.hashes()) }
        default:
            server.refuse(
                peer.peer, request: peer.request,
                Refusal(
                    .unknownRequest, "a shard does not take \(message.name); send it to the coordinator or not at all"))
        }
    }

    private func greet(_ hello: Hello, _ peer: StepPeer) {
        guard let policy, let welcome else {
            server.refuse(
                peer.peer, request: peer.request,
                Refusal(.notWelcomed, "this shard has not joined a cluster yet; try again in a second"))
            return
        }
        if case .failure(let refusal) = policy.check(hello) {
            log.warning("refused \(hello.role) \(hello.name) of \(hello.host): \(refusal.message)")
            server.refuse(peer.peer, request: peer.request, refusal)
            return
        }
        let member = MemberID(hello.role, max(0, hello.previousNumber))
        var answer = Welcome(clusterID: welcome.clusterID, member: member)
        answer.configurationHash = welcome.configurationHash
        answer.heartbeatMilliseconds = welcome.heartbeatMilliseconds
        answer.leaseMilliseconds = welcome.leaseMilliseconds
        answer.answersQueries = true
        remember(hello, peer.peer)
        server.welcome(peer.peer, request: peer.request, answer)
    }

    /// Computes an answer between the computations of the steps.
    private func answer(
        _ peer: StepPeer, _ body: @escaping @Sendable (ShardModel) throws(Refusal) -> WireMessage
    ) {
        let (mailbox, box) = (mailbox, model)
        compute.submit {
            guard let model = box.model else {
                mailbox.post(
                    .answer(peer, .failure(Refusal(.notWelcomed, "this shard owns no slices yet; try again later"))))
                return
            }
            do throws(Refusal) { mailbox.post(.answer(peer, .success(try body(model)))) } catch {
                mailbox.post(.answer(peer, .failure(error)))
            }
        }
    }
}
