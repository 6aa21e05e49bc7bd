internal import CZeroMQ
import StepProtocol
import Tensors

/// The part of a `ServerEndpoint` that its thread drives.
final class ServerCore: SocketDriver, @unchecked Sendable {
    private struct Peer {
        let account: SendAccount
        var isWelcomed = false
        /// What it was welcomed as.
        var member: MemberID?
        /// The key that it came with; nil where none is asked for.
        var key: AcceptedKey?
        var lastHeard: Int
    }

    private struct State {
        var queue: [(peer: PeerID, message: OutgoingMessage)] = []
        var peers: [PeerID: Peer] = [:]
        var counters = WireCounters()
        var isClosed = false
        /// Counts messages; orders peers by when they were heard last.
        var clock = 0
    }

    let socket: ZMQSocket
    private let gate: Gatekeeper?
    private let options: TransportOptions
    private let limits: WireLimits
    private let events: Sink<ServerEvent>
    private let state = Monitor(State())
    /// Touched by the socket's thread alone.
    private var unfinished: UnfinishedMessages
    /// Set once, before the thread knows the socket.
    var wake: @Sendable () -> Void = {}

    init(
        thread: IOCore, options: TransportOptions, security: ServerSecurity, events: Sink<ServerEvent>
    ) throws(WireError) {
        self.options = options
        self.events = events
        unfinished = UnfinishedMessages(options)
        limits = WireLimits(
            headerByteCount: WireLimits.server.headerByteCount, messageByteCount: options.messageByteCount)
        socket = try ZMQSocket(ZMQ_ROUTER, context: thread.context, options: options)
        try socket.set(ZMQ_ROUTER_MANDATORY, Int32(1))
        // A client that reconnects before its old connection is known to be dead takes its identity over.
        try socket.set(ZMQ_ROUTER_HANDOVER, Int32(1))
        gate = try Gatekeeper(of: socket, security, thread: thread) { events.post(.security($0), 0) }
    }

    // MARK: Any thread

    var counters: WireCounters {
        var counters = state.withLock { $0.counters }
        counters.turnedAway = gate?.turnedAway ?? [:]
        return counters
    }

    func setWelcomed(_ peer: PeerID, as member: MemberID) {
        state.withLock { state in
            // Whose key was revoked since its hello came is not welcome any more.
            guard gate == nil || state.peers[peer]?.key != nil else { return }
            state.peers[peer]?.isWelcomed = true
            state.peers[peer]?.member = member
        }
    }

    func forget(_ peer: PeerID) { state.withLock { $0.peers[peer]?.isWelcomed = false } }

    func waitingByteCount(for peer: PeerID) -> Int { state.withLock { $0.peers[peer]?.account.byteCount ?? 0 } }

    func refuse(_ peer: PeerID, request: UInt64, _ refusal: Refusal) -> SendResult {
        state.withLock { $0.counters.reject(refusal.code) }
        return send(.refused(refusal), to: peer, request: request)
    }

    func send(_ message: WireMessage, to peer: PeerID, request: UInt64) -> SendResult {
        let encoded: EncodedMessage
        do { encoded = try WireCodec.encode(message, request: request, series: ReceiveMemory.nextSeries()) } catch {
            state.withLock { $0.counters.unencodable += 1 }
            return .unencodable(error)
        }
        var isRefusal = false
        if case .refused = message { isRefusal = true }
        var wasWelcomed = false
        let result: SendResult = state.withLock { state in
            guard !state.isClosed else { return .closed }
            guard let known = state.peers[peer], known.isWelcomed || isRefusal else { return .notWelcomed }
            let capacity = known.isWelcomed ? options.sendByteCapacity : SendAccount.strangerCapacity
            guard let charge = known.account.charge(encoded, capacity: capacity) else {
                guard known.isWelcomed else {
                    state.counters.unanswered += 1
                    return .full
                }
                wasWelcomed = true
                state.counters.overfull += 1
                state.peers[peer]?.isWelcomed = false
                state.queue.removeAll { $0.peer == peer }
                return .full
            }
            state.queue.append((peer, OutgoingMessage(encoded: encoded, charge: charge)))
            return .queued(request: request)
        }
        switch result {
        case .queued: wake()
        case .full where wasWelcomed: events.post(.dropped(peer: peer), 0)
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
        let (dropped, next) = unfinished.dropOverdue(now, isReading: wantsMessages)
        if dropped > 0 { state.withLock { $0.counters.unfinished += dropped } }
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

    func receive() {
        // A bound, so that answers go out and other sockets have their turn.
        for _ in 0..<256 where wantsMessages {
            guard let received = socket.receive(limit: Bound.tensors + 3) else { return }
            accept(received.frames, of: received.user)
        }
    }

    private func accept(_ frames: [TensorStorage], of user: String?) {
        guard let identity = frames.first else { return }
        let peer = PeerID(bytes: Array(UnsafeRawBufferPointer(start: identity.base, count: identity.byteCount)))
        let byteCount = frames.dropFirst().reduce(0) { $0 + $1.byteCount }
        let isWelcomed = heard(peer, of: user, byteCount: byteCount)
        do {
            let (request, part) = try WireCodec.decode(frames.dropFirst(), limits: limits) {
                isWelcomed ? options.memory.storage(byteCount: $0) : ReceiveMemory.placeholder(byteCount: $0)
            }
            var isHello = false
            if case .message(.hello) = part { isHello = true }
            guard isWelcomed || isHello else {
                _ = refuse(peer, request: request, Refusal(.notWelcomed, "say hello before \(part.name)"))
                return
            }
            if let (request, message, byteCount) = try complete(part, request, byteCount, of: peer) {
                state.withLock { $0.counters.received += 1 }
                events.post(.received(peer: peer, request: request, message: message), byteCount)
            }
        } catch {
            let error = error as? WireError ?? WireError(.header, "\(error)")
            _ = refuse(peer, request: error.request, Refusal(error.refusalCode, error.message))
        }
    }

    /// Puts a large message together; returns what is whole.
    private func complete(
        _ part: WirePart, _ request: UInt64, _ byteCount: Int, of peer: PeerID
    ) throws -> (request: UInt64, message: WireMessage, byteCount: Int)? {
        if case .fragment(let fragment) = part {
            let finished = try unfinished.add(fragment, of: peer)
            state.withLock { $0.counters.parts += 1 }
            return finished.map { ($0.request, $0.message, $0.byteCount) }
        }
        // The fragments of a message follow it at once: its sender has given up what is not finished by now.
        if let dropped = unfinished.drop(peer) {
            _ = refuse(peer, request: dropped.request, dropped.interruption)
        }
        guard let message = part.message else { return nil }
        guard message.isForServers else {
            throw WireError(.unknownMessage, "a server does not take \(message.name)", request: request)
        }
        if let gate { try check(message, request, of: peer, gate) }
        guard case .announcement(let announced) = part else { return (request, message, byteCount) }
        try unfinished.begin(announced, of: peer)
        state.withLock { $0.counters.parts += 1 }
        return nil
    }

    /// Notes that a peer is there, and under which key; says whether it was welcomed.
    private func heard(_ peer: PeerID, of user: String?, byteCount: Int) -> Bool {
        let key = gate?.key(of: user)
        return state.withLock { state in
            state.clock += 1
            state.counters.bytesIn += byteCount
            if state.peers[peer] == nil {
                if state.peers.count >= options.peerCapacity {
                    let oldest = state.peers.min {
                        ($0.value.isWelcomed ? 1 : 0, $0.value.lastHeard) < (
                            $1.value.isWelcomed ? 1 : 0, $1.value.lastHeard
                        )
                    }
                    if let oldest { state.peers[oldest.key] = nil }
                }
                state.peers[peer] = Peer(account: SendAccount(), lastHeard: state.clock)
            }
            state.peers[peer]?.lastHeard = state.clock
            if state.peers[peer]?.key?.key != key?.key {
                // Who comes with another's routing id is not that other, and whose key was revoked is nobody.
                state.peers[peer]?.isWelcomed = false
                state.peers[peer]?.member = nil
            }
            state.peers[peer]?.key = key
            return state.peers[peer]?.isWelcomed ?? false
        }
    }

    /// Whether the peer's key allows the message.
    private func check(_ message: WireMessage, _ request: UInt64, of peer: PeerID, _ gate: Gatekeeper) throws {
        let (key, member) = state.withLock { ($0.peers[peer]?.key, $0.peers[peer]?.member) }
        guard let key else {
            gate.noteRevoked(nil)
            throw WireError(.forbidden, "the key of this process was revoked", request: request)
        }
        if let objection = key.objection(to: message, from: member) {
            throw WireError(.forbidden, objection, request: request)
        }
    }

    /// Peers whose keys are not accepted any more get nothing from now on.
    private func dropRevoked(_ gate: Gatekeeper) {
        state.withLock { state in
            for (peer, known) in state.peers {
                if let key = known.key, gate.key(of: key.key.text) == key { continue }
                state.peers[peer]?.key = nil
                state.peers[peer]?.member = nil
                state.peers[peer]?.isWelcomed = false
                state.queue.removeAll { $0.peer == peer }
            }
        }
    }

    var monitor: SocketMonitor? { gate?.monitor }

    func observe() { gate?.observe() }

    func detach() {
        gate?.close()
        unfinished.dropAll()
        state.withLock { state in
            state.isClosed = true
            state.queue = []
            state.peers = [:]
        }
    }
}

extension WireMessage {
    /// Whether a server takes the message. Answers it does not: refusing a refusal would never end.
    var isForServers: Bool {
        switch self {
        case .hello, .acknowledged, .heartbeat, .ready, .stepDone, .stepFailed, .evaluation, .leave, .taskDone,
            .resultsDone,
            .stepRequest, .transferRequest, .operatorRequest, .readRows, .readSliceHashes, .readClasses:
            true
        case .welcome, .refused, .heartbeatReply, .plan, .stepReply, .transferReply, .operatorReply, .rows,
            .sliceHashes, .classes:
            false
        }
    }
}
