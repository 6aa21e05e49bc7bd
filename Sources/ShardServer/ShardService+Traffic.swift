import Cluster
import ShardModel
import StepProtocol
import Tensors
import Wire

/// Large answers that were queued for a peer. While bytes wait for it one of them is not queued a second time: it would come
/// twice, and everything after it later.
struct QueuedAnswers {
    enum Key: Hashable {
        case step(StepID, StepPhase)
        case part(TransferRequest)
    }

    /// Less than this waits for a peer that reads what it gets.
    private static let fewBytes = 64 << 10
    private static let limit = 4096
    private var keys: Set<Pair> = []

    private struct Pair: Hashable {
        var peer: PeerID
        var key: Key
    }

    /// Whether the answer was queued, and may still be on its way.
    mutating func contains(_ key: Key, for peer: PeerID, waiting: Int) -> Bool {
        let pair = Pair(peer: peer, key: key)
        guard keys.contains(pair) else { return false }
        if waiting >= Self.fewBytes { return true }
        keys.remove(pair)
        return false
    }

    mutating func insert(_ key: Key, for peer: PeerID) {
        // Whoever is forgotten here gets an answer twice, at worst.
        if keys.count >= Self.limit { keys = [] }
        keys.insert(Pair(peer: peer, key: key))
    }
}

extension ShardService {
    func send(_ reply: StepReply<[Tensor]>, to peer: StepPeer) {
        if case .done(let payload) = reply.outcome, !payload.isEmpty {
            let key = QueuedAnswers.Key.step(reply.id, reply.phase)
            if queued.contains(key, for: peer.peer, waiting: server.waitingByteCount(for: peer.peer)) { return }
            queued.insert(key, for: peer.peer)
        }
        server.send(.stepReply(reply), to: peer.peer, request: peer.request)
    }

    /// Remembers who said hello over a connection.
    func remember(_ hello: Hello, _ peer: PeerID) {
        guard hello.role == .worker else { return }
        if senders.count >= 4 * Plan.memberLimit {
            // Of so many most are gone. Who is not must say hello again.
            for known in senders.keys where known != peer { server.forget(known) }
            (senders, traffic) = ([:], [:])
        }
        senders[peer] = StepSender(
            member: MemberID(.worker, hello.previousNumber), incarnation: hello.incarnation)
    }

    /// Tells the machine of workers whose large messages, or our answers to them, move over the network.
    func noteTraffic() {
        guard let ranks = machine?.plan?.ranks, !ranks.isEmpty else { return }
        let members = Set(ranks.map(\.worker))
        for (peer, sender) in senders where members.contains(sender.member) {
            let new = (fragments: server.fragmentCount(of: peer), waiting: server.waitingByteCount(for: peer))
            let old = traffic.updateValue(new, forKey: peer) ?? (0, 0)
            if new.fragments != old.fragments || new.waiting < old.waiting { drive(.moving(sender.member)) }
        }
    }
}
