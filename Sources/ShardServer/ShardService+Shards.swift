import Logging
import StepProtocol
import Tensors
import Wire

/// The connection to another shard, and what was asked over it.
struct ShardPeer {
    var member: MemberID
    var connection: ClientConnection
    var asked: [UInt64: TransferRequest] = [:]
    var next: UInt64 = 1
}

/// Connections to the shards that slices come from.
extension ShardService {
    func ask(_ owner: MemberID, _ request: TransferRequest) {
        guard let welcome, let endpoint = plan?.shards.first(where: { $0.shard == owner })?.endpoint else { return }
        do throws(WireError) {
            var peer: ShardPeer
            if let known = shards[endpoint] { peer = known } else { peer = try connect(endpoint, owner, welcome) }
            peer.member = owner
            // What is repeated replaces what was asked before.
            for (number, asked) in peer.asked where asked.slice == request.slice && asked.part == request.part {
                peer.asked[number] = nil
            }
            let number = peer.next
            peer.next += 1
            peer.asked[number] = request
            peer.connection.send(.transferRequest(request), request: number)
            shards[endpoint] = peer
        } catch { log.warning("\(owner) cannot be reached at \(endpoint): \(error)") }
    }

    private func connect(
        _ endpoint: String, _ owner: MemberID, _ welcome: Welcome
    ) throws(WireError) -> ShardPeer {
        var hello = hello
        hello.clusterID = welcome.clusterID
        hello.previousNumber = welcome.member.number
        let connection = try ClientConnection(
            connect: endpoint, hello: hello, thread: io, events: mailbox.sink { .shard(endpoint, $0) })
        return ShardPeer(member: owner, connection: connection)
    }

    func hear(_ event: ClientEvent, from endpoint: String) {
        guard let peer = shards[endpoint] else { return }
        switch event {
        case .received(let number, .transferReply(let reply)):
            guard let request = shards[endpoint]?.asked.removeValue(forKey: number) else { return }
            tell(.reply(to: request, reply))
        case .received(_, .refused(let refusal)):
            log.warning("\(peer.member) refused: \(refusal.message)")
        case .refused(let refusal):
            log.warning("\(peer.member) refused this shard: \(refusal.message)")
            disconnect(endpoint)
        case .welcomed, .unanswered:
            // What was sent before is lost, or not sent at all: it is asked again.
            shards[endpoint]?.asked = [:]
            tell(.unreachable(peer.member))
        case .received: break
        }
    }

    /// Closes connections that no move needs any more.
    func closeIdleConnections(_ plan: Plan) {
        guard let welcome else { return }
        let needed = Set(plan.moves.filter { $0.to == welcome.member }.map(\.from))
        let endpoints = Set(plan.shards.filter { needed.contains($0.shard) }.map(\.endpoint))
        for endpoint in shards.keys where !endpoints.contains(endpoint) { disconnect(endpoint) }
    }

    private func disconnect(_ endpoint: String) {
        guard let peer = shards.removeValue(forKey: endpoint) else { return }
        peer.connection.close()
        tell(.unreachable(peer.member))
    }
}
