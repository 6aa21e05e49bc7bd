import Cluster
import CoordinatorStore
import Logging
import StepProtocol
import Succession
import Wire

/// What an understudy says to those that come to it.
extension Understudy {
    func receive(_ message: WireMessage, _ peer: PeerID, _ request: UInt64) {
        switch message {
        case .hello(let hello): greet(hello, peer, request)
        case .operatorRequest(let command): answer(command, peer, request)
        default: break
        }
    }

    private func greet(_ hello: Hello, _ peer: PeerID, _ request: UInt64) {
        if let refusal = hello.versionRefusal {
            server.refuse(peer, request: request, refusal)
        } else if hello.isForStandbys {
            server.welcome(
                peer, request: request,
                Welcome(clusterID: cluster?.id ?? hello.clusterID, member: MemberID(.operator, 0)))
        } else {
            let standing = StandingBy(message: situation, question: question(for: hello))
            server.send(.standingBy(standing), to: peer, request: request)
        }
    }

    /// Hears the vote of a shard; returns what it is asked.
    private func question(for hello: Hello) -> BallotQuestion? {
        guard hello.role == .shard else { return nil }
        let number = record.voter(hello, of: cluster?.id ?? "")
        switch part {
        case .follower(var follower):
            if let number, let vote = hello.vote { follower.hear(vote, from: number) }
            part = .follower(follower)
            return follower.question
        case .contender(var replication):
            if let number, let vote = hello.vote { replication.hear(vote, from: number) }
            part = .contender(replication)
            return replication.question
        }
    }

    private func answer(_ command: OperatorRequest, _ peer: PeerID, _ request: UInt64) {
        switch OperatorCommandName(rawValue: command.command) {
        case .view: reply(ViewReply(view: record.view.number, leads: false), peer, request)
        case .replicate: hearOther(command, peer, request)
        case .promote: promote(isForced: command.arguments["force"] == "true", peer, request)
        default: refuse(situation, exitCode: 75, peer, request)
        }
    }

    /// The other coordinator asks this one: it stands by too, or goes on standing by.
    private func hearOther(_ command: OperatorRequest, _ peer: PeerID, _ request: UInt64) {
        guard let asked = ReplicationQuestion(command.arguments) else {
            server.refuse(peer, request: request, Refusal(.malformed, "these are not the arguments of replicate"))
            return
        }
        // Whoever asks must not wait: the questions of others would have no place.
        defer { server.refuse(peer, request: request, Refusal(.busy, "this coordinator does not decide either")) }
        switch part {
        case .follower(var follower):
            if let granted = asked.granted { follower.handedOver(granted) }
            part = .follower(follower)
        case .contender:
            guard asked.question.standby.id == record.view.standby?.id else { break }
            log.info("\(asked.question.standby.endpoint) stands by: it has not taken over")
            ending = .leads
        }
    }

    private func promote(isForced: Bool, _ peer: PeerID, _ request: UInt64) {
        guard case .follower(var follower) = part else {
            return refuse(
                "this coordinator is no standby: it asks whether its own has taken over", exitCode: 65, peer, request)
        }
        if let reason = isForced ? follower.force() : follower.order(at: now) {
            return refuse(reason, exitCode: 65, peer, request)
        }
        part = .follower(follower)
        log.warning("an operator orders this standby to take over\(isForced ? ", whoever else decides" : "")")
        reply(PromotionReply(situation: situation), peer, request)
    }

    private func reply(_ answer: some Encodable, _ peer: PeerID, _ request: UInt64) {
        server.send(.operatorReply(OperatorReply(answer)), to: peer, request: request)
    }

    private func refuse(_ reason: String, exitCode: Int, _ peer: PeerID, _ request: UInt64) {
        server.send(.operatorReply(OperatorReply(refusing: reason, exitCode: exitCode)), to: peer, request: request)
    }
}

/// The answer to `promote`.
struct PromotionReply: Codable { var situation: String }
