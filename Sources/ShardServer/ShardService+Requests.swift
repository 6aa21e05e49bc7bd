import Cluster
import Logging
import MemberSupport
import Model
import ProcessSupport
import Setup
import ShardModel
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
            guard let setup else { return answer(peer, nil) }
            do throws(Refusal) {
                answer(peer, try RowsQuestion(ids: ids, embeddingSize: setup.head.embeddingSize))
            } catch { server.refuse(peer.peer, request: peer.request, error) }
        case .readSliceHashes: answer(peer, HashesQuestion())
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
            if let rest = refusals.next() {
                log.warning("refused \(hello.role) \(hello.name) of \(hello.host): \(refusal.message)\(rest)")
            }
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

    /// Computes an answer piece by piece, while there is nothing to compute for a step; not for somebody who is gone.
    private func answer(_ peer: StepPeer, _ question: (any ShardQuestion)?) {
        let nothing = Refusal(.notWelcomed, "this shard owns no slices yet; try again later")
        guard let question else {
            server.refuse(peer.peer, request: peer.request, nothing)
            return
        }
        let (mailbox, box, server) = (mailbox, model, server)
        let work = PieceWork(question)
        compute.submitInPieces {
            guard server.isConnected(peer.peer) else { return false }
            do throws(Refusal) {
                guard let model = box.model else { throw nothing }
                guard let answer = try work.question.advance(model) else { return true }
                mailbox.post(.answer(peer, .success(WireMessage(answer))))
            } catch { mailbox.post(.answer(peer, .failure(error))) }
            return false
        }
    }
}

/// A question under way. Touched on the compute thread only.
private final class PieceWork: @unchecked Sendable {
    var question: any ShardQuestion
    init(_ question: any ShardQuestion) { self.question = question }
}

extension WireMessage {
    /// An answer as it travels.
    fileprivate init(_ answer: ShardAnswer) {
        self =
            switch answer {
            case .rows(let rows, let kept, let steps): .rows(rows: rows, kept: kept, steps: steps)
            case .hashes(let hashes): .sliceHashes(hashes)
            }
    }
}
