internal import CZeroMQ
internal import Cluster
import Tensors

/// The part of a `ServerEndpoint` that its thread drives.
final class ServerCore: SocketDriver, @unchecked Sendable {
    struct Peer {
        let account: SendAccount
        var isWelcomed = false
        /// What it was welcomed as.
        var member: MemberID?
        /// The key that it came with; nil where none is asked for.
        var key: AcceptedKey?
        var lastHeard: Int
        /// Fragments of large messages that came from it.
        var fragments = 0
        /// The descriptor of its connection; nil if there is none to be known.
        var connection: Int32?
        /// Whether the connection that it had has ended.
        var isGone = false
        /// The question that it waits for the answer to.
        var question: Question?
        /// Questions of it that were refused meanwhile.
        var refusedQuestions = 0
        /// The hello that it waits for the answer to.
        var hello: Question?

        var share: PeerShare { isWelcomed ? PeerShare(member) : .stranger }
    }

    /// What a peer waits for the answer to.
    struct Question {
        var request: UInt64
        var since = ContinuousClock.now
        var byteCount = 0
    }

    struct State {
        var queue: [(peer: PeerID, message: OutgoingMessage)] = []
        var peers: [PeerID: Peer] = [:]
        var counters = WireCounters()
        var isClosed = false
        /// Counts messages; orders peers by when they were heard last.
        var clock = 0
        /// Questions that are open, of all peers.
        var openQuestions = 0
        /// Their bytes.
        var openByteCount = 0
        /// Peers whose connections are to be ended.
        var toEnd: [PeerID] = []
    }

    let socket: ZMQSocket
    let gate: Gatekeeper?
    let options: TransportOptions
    let limits: WireLimits
    let events: Sink<ServerEvent>
    let state = Monitor(State())
    /// What waits for all peers of a kind.
    let accounts = Dictionary(uniqueKeysWithValues: PeerShare.allCases.map { ($0, SendAccount()) })
    // Touched by the socket's thread alone.
    var unfinished: UnfinishedMessages
    let observer: SocketMonitor
    var watch: ConnectionWatch
    var throttle = TroubleThrottle()
    var spares = SpareDescriptors()
    /// When a connection could not be accepted last, and when that was told.
    var lastUnaccepted: ContinuousClock.Instant?
    var toldUnaccepted: ContinuousClock.Instant?
    var keeper = MemoryKeeper()
    /// Set once, before the thread knows the socket.
    var wake: @Sendable () -> Void = {}

    init(
        thread: IOCore, isLocal: Bool, options: TransportOptions, security: ServerSecurity, events: Sink<ServerEvent>
    ) throws(WireError) {
        self.options = options
        self.events = events
        unfinished = UnfinishedMessages(options)
        watch = ConnectionWatch(options)
        limits = WireLimits(
            headerByteCount: WireLimits.server.headerByteCount, messageByteCount: options.messageByteCount)
        socket = try ZMQSocket(ZMQ_ROUTER, context: thread.context, options: options)
        try socket.set(ZMQ_ROUTER_MANDATORY, Int32(1))
        // A client that reconnects before its old connection is known to be dead takes its identity over.
        try socket.set(ZMQ_ROUTER_HANDOVER, Int32(1))
        try socket.set(ZMQ_MAXMSGSIZE, number: min(options.frameByteCount, options.messageByteCount))
        // ZeroMQ's input must never be stopped by its own high-water mark: libzmq 4.3.4 ends the process if such a connection breaks, and a
        // PING of the peer is found behind what was read (`!_io_error`). What it holds of a peer is bounded by `watch`, which knows TCP.
        if !isLocal { try socket.set(ZMQ_RCVHWM, Int32(0)) }
        observer = try SocketMonitor(of: socket, context: thread.context)
        do throws(WireError) {
            gate = try Gatekeeper(of: socket, security, thread: thread) { events.post(.security($0), 0) }
        } catch {
            observer.close()
            throw error
        }
    }

    // MARK: Any thread

    var counters: WireCounters {
        var counters = state.withLock { $0.counters }
        counters.turnedAway = gate?.turnedAway ?? [:]
        return counters
    }

    func isConnected(_ peer: PeerID) -> Bool { state.withLock { !($0.peers[peer]?.isGone ?? true) } }

    func setWelcomed(_ peer: PeerID, as member: MemberID) {
        state.withLock { state in
            // Whose key was revoked since its hello came is not welcome any more.
            guard gate == nil || state.peers[peer]?.key != nil else { return }
            state.peers[peer]?.isWelcomed = true
            state.peers[peer]?.member = member
        }
    }

    func forget(_ peer: PeerID) { state.withLock { $0.peers[peer]?.isWelcomed = false } }

    func fragmentCount(of peer: PeerID) -> Int { state.withLock { $0.peers[peer]?.fragments ?? 0 } }

    func waitingByteCount(for peer: PeerID) -> Int { state.withLock { $0.peers[peer]?.account.byteCount ?? 0 } }

    func refuse(_ peer: PeerID, request: UInt64, _ refusal: Refusal) -> SendResult {
        state.withLock { $0.counters.reject(refusal.code) }
        return send(.refused(refusal), to: peer, request: request)
    }

    /// The socket's thread refuses what the owner never sees: that answers no question of the peer's that the owner has.
    func object(_ peer: PeerID, request: UInt64, _ refusal: Refusal) {
        state.withLock { $0.counters.reject(refusal.code) }
        _ = send(.refused(refusal), to: peer, request: request, isAnswer: false)
    }

    func send(_ message: WireMessage, to peer: PeerID, request: UInt64, isAnswer: Bool = true) -> SendResult {
        let encoded: EncodedMessage
        do { encoded = try WireCodec.encode(message, request: request, series: ReceiveMemory.nextSeries()) } catch {
            state.withLock { $0.counters.unencodable += 1 }
            return .unencodable(error)
        }
        var isRefusal = false
        switch message {
        case .refused, .standingBy: isRefusal = true
        default: break
        }
        var wasWelcomed = false
        let result: SendResult = state.withLock { state in
            guard !state.isClosed else { return .closed }
            if isAnswer { answered(&state, request, by: peer) }
            guard let known = state.peers[peer], known.isWelcomed || isRefusal else { return .notWelcomed }
            let room = options.room(of: known.share).answers
            let common = accounts[known.share].map { (account: $0, capacity: room.together) }
            guard let charge = known.account.charge(encoded, capacity: room.each, common: common) else {
                guard known.isWelcomed else {
                    state.counters.unanswered += 1
                    return .full
                }
                wasWelcomed = true
                state.counters.overfull += 1
                state.peers[peer]?.isWelcomed = false
                state.queue.removeAll { $0.peer == peer }
                // What waits in ZeroMQ goes with the connection.
                state.toEnd.append(peer)
                return .full
            }
            state.queue.append((peer, OutgoingMessage(encoded: encoded, charge: charge)))
            return .queued(request: request)
        }
        switch result {
        case .queued: wake()
        case .full where wasWelcomed:
            events.post(.dropped(peer: peer), 0)
            wake()
        default: break
        }
        return result
    }

    // MARK: The socket's thread

    var wantsMessages: Bool { !events.isFull() }

    func advance(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        let queue = state.withLock { state in
            defer { state.queue = [] }
            return state.queue
        }
        if let gate, gate.look(now) { dropRevoked(gate) }
        let (dropped, nextDrop) = unfinished.dropOverdue(now, isReading: wantsMessages)
        if dropped > 0 { state.withLock { $0.counters.unfinished += dropped } }
        tend(now)
        keeper.turn(now, pool: options.memory)
        let next = [nextDrop, watch.nextDeadline].compactMap(\.self).min()
        guard !queue.isEmpty else { return next }
        var counters = WireCounters()
        for (peer, message) in queue {
            switch socket.send(message, to: peer) {
            case .sent:
                counters.sent += 1
                counters.bytesOut += message.encoded.byteCount
            case .unreachable, .busy: counters.unreachable += 1
            }
        }
        state.withLock { state in
            state.counters.sent += counters.sent
            state.counters.bytesOut += counters.bytesOut
            state.counters.unreachable += counters.unreachable
        }
        return next
    }

    func detach() {
        gate?.close()
        spares.closeAll()
        unfinished.dropAll()
        state.withLock { state in
            state.isClosed = true
            state.queue = []
            state.peers = [:]
        }
    }
}
