package import Cluster

/// Who may send what to a server. Every message is classified here: the compiler asks for a new one.
extension AcceptedKey {
    /// Why the holder of this key may not send a message; nil if it may.
    ///
    /// - Parameter member: what the server has welcomed the connection as, nil before that.
    package func objection(to message: WireMessage, from member: MemberID?) -> String? {
        switch message {
        case .hello(let hello):
            if hello.role == role.memberRole { return nil }
            return "\(described) cannot join as \(hello.role): it is \(role.described)'s"
        case .acknowledged, .readClasses: return nil
        case .heartbeat, .leave: return only([.shard, .worker], message)
        case .ready, .stepDone, .stepFailed, .evaluation, .resultsDone, .stepRequest: return only([.worker], message)
        // The rank 0 of a job writes its part of a checkpoint. Nobody speaks for a member of another role.
        case .taskDone(let done): return only([done.member.role == .worker ? .worker : .shard], message)
        case .stepPrepared, .transferRequest: return only([.shard], message)
        case .readRows, .readSliceHashes: return only([.operator, .reader], message)
        case .operatorRequest(let request): return objection(to: request, from: member)
        case .welcome, .refused, .standingBy, .heartbeatReply, .plan, .stepReply, .transferReply, .operatorReply, .rows,
            .sliceHashes, .classes:
            return "\(message.name) is what servers say"
        }
    }

    private func objection(to request: OperatorRequest, from member: MemberID?) -> String? {
        switch role {
        case .operator:
            // Who replicates decisions can keep them from taking effect.
            if request.command != OperatorCommandName.replicate.rawValue { return nil }
            return "\(described) is no coordinator's: \(request.command) is for a standby"
        case .reader:
            if !request.changes { return nil }
            return "\(described) may only ask: \(request.command) needs an operator's key"
        case .shard:
            // On SIGTERM a shard asks to be drained, and when it comes back to stay.
            let isAboutItself = member.map { request.arguments["name"] == "\($0)" } ?? false
            if isAboutItself, request.command == "drain" || request.command == "undrain" { return nil }
            return "\(described) is no operator's: a shard server may drain and undrain itself, and nothing else"
        case .coordinator:
            // The standby of the coordinator that it asks, or the one that has handed over to it.
            if OperatorCommandName(rawValue: request.command)?.isOfCoordinators == true { return nil }
            return "\(described) is no operator's: it asks coordinators what they have decided, and nothing else"
        case .worker:
            return "\(described) is no operator's: \(request.command) needs an operator's or a reader's key"
        }
    }

    private func only(_ roles: Set<KeyRole>, _ message: WireMessage) -> String? {
        if roles.contains(role) { return nil }
        let allowed = KeyRole.allCases.filter(roles.contains).map(\.rawValue).joined(separator: " or ")
        return "\(described) is \(role.described)'s, and \(message.name) is for \(allowed)"
    }

    private var described: String { "the key \"\(name)\"" }
}
