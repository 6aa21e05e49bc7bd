/// Decides which peers are let in to a server with keys, and tells of those that are not.
final class Gatekeeper: @unchecked Sendable {
    private struct State {
        var turnedAway: [HandshakeFailure.Reason: Int] = [:]
        var throttle = TurnedAwayThrottle()
    }

    private let security: ServerSecurity
    private let accepted: AcceptedKeys
    private let handler: ZAPHandler
    private let post: @Sendable (SecurityEvent) -> Void
    private let state = Monitor(State())
    /// The domain of the server, once it has one.
    private var domain: String?
    // Touched by the socket's thread alone.
    /// The addresses at the other ends of connections, by their descriptors.
    private var addresses: [Int32: String] = [:]
    /// Why the connection that is closed next was not made: ZeroMQ says first why, and then which.
    private var failing: HandshakeFailure.Reason?
    private var nextLook = ContinuousClock.now
    /// Whether the accepted keys have changed since the socket's owner was told.
    private var hasChanged = false

    /// How often the accepted keys are looked for.
    private static let lookInterval = Duration.seconds(1)

    /// Stands before a socket that has not bound yet.
    ///
    /// - Returns: nil where everyone is let in.
    init?(
        of socket: ZMQSocket, _ security: ServerSecurity, thread: IOCore,
        post: @escaping @Sendable (SecurityEvent) -> Void
    ) throws(WireError) {
        guard let accepted = security.accepted else { return nil }
        self.security = security
        self.accepted = accepted
        self.post = post
        handler = try thread.zapHandler()
        let domain = handler.add { [weak self] in self?.admit($0) }
        self.domain = domain
        do throws(WireError) { try socket.secure(security, domain: domain) } catch {
            handler.remove(domain)
            throw error
        }
    }

    // MARK: Any thread

    /// Peers that were not let in.
    var turnedAway: [HandshakeFailure.Reason: Int] { state.withLock { $0.turnedAway } }

    // MARK: The socket's thread

    /// The key under which a user was let in; nil if it is not accepted any more.
    func key(of user: String?) -> AcceptedKey? { user.flatMap(PublicKey.init).flatMap { accepted.find($0) } }

    /// Answers ZeroMQ.
    private func admit(_ request: ZAPRequest) -> AcceptedKey? {
        look()
        let claimed = request.claimedKey
        if let claimed, let key = accepted.find(claimed), request.proves(key, to: security) { return key }
        note(.key, address: request.address, key: claimed)
        return nil
    }

    /// Looks for changes of the accepted keys, if it is time to.
    ///
    /// - Returns: whether there were any since the last call.
    func look(_ now: ContinuousClock.Instant) -> Bool {
        if now >= nextLook {
            nextLook = now + Self.lookInterval
            look()
        }
        defer { hasChanged = false }
        return hasChanged
    }

    private func look() {
        switch accepted.refresh() {
        case nil: break
        case .read(let count):
            hasChanged = true
            post(.keysRead(count))
        case .unreadable(let problem): post(.keysUnreadable(problem))
        }
    }

    /// Notes that a peer whose key was revoked is still there.
    func noteRevoked(_ key: PublicKey?) { note(.revoked, address: nil, key: key) }

    /// Takes what ZeroMQ tells of a connection.
    func observe(_ event: SocketMonitor.Event) {
        switch event {
        case .accepted(let descriptor): addresses[descriptor] = SocketMonitor.address(of: descriptor)
        case .succeeded, .acceptFailed: break
        // These were counted when ZeroMQ asked.
        case .failed(.key): failing = nil
        case .failed(let reason): failing = reason
        case .disconnected(let descriptor):
            let address = addresses.removeValue(forKey: descriptor)
            if let reason = failing { note(reason, address: address, key: nil) }
            failing = nil
        }
    }

    private func note(_ reason: HandshakeFailure.Reason, address: String?, key: PublicKey?) {
        let event = state.withLock { state in
            state.turnedAway[reason, default: 0] += 1
            return state.throttle.note(reason, address: address, key: key, at: .now)
        }
        if let event { post(event) }
    }

    /// Lets nobody in any more.
    func close() {
        if let domain { handler.remove(domain) }
        domain = nil
    }
}
