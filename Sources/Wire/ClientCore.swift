internal import CZeroMQ
internal import Cluster
import NetworkAddress
import Tensors

/// The part of a `ClientConnection` that its thread drives.
final class ClientCore: SocketDriver, @unchecked Sendable {
    private enum Handshake {
        /// Say hello at `next`; no answer by `deadline` is reported.
        case greeting(next: ContinuousClock.Instant, deadline: ContinuousClock.Instant)
        case welcomed
        case refused
    }

    private struct State {
        var hello: Hello
        var handshake: Handshake
        var queue: [OutgoingMessage] = []
        var counters = WireCounters()
        var isClosed = false
        var lastRequest: UInt64 = 0
        /// When to connect anew, after ZeroMQ has given the connection up.
        var reconnectAt: ContinuousClock.Instant?
        /// Request numbers of hellos since the handshake began.
        var hellos: Set<UInt64> = []
        /// With several servers: when to go on to the next.
        var moveAt: ContinuousClock.Instant?
        /// How long the server may be silent when it has let us in, and when it was heard last.
        var silence: Duration?
        var lastHeard = ContinuousClock.now
        var endpoint: String
    }

    let socket: ZMQSocket
    let monitor: SocketMonitor?
    private let addresses: [EndpointList.Entry]
    private let security: ClientSecurity
    private let options: TransportOptions
    private let limits: WireLimits
    private let events: Sink<ClientEvent>
    private let account: SendAccount
    private let state: Monitor<State>
    /// Touched by the socket's thread alone.
    private var unfinished: UnfinishedMessages
    private var brokenHandshakes = 0
    private var lastBroken = ContinuousClock.now
    private var reported: HandshakeFailure.Reason?
    private var nextReport = ContinuousClock.now
    private var family: AddressFamily?
    /// Of `addresses`, the one that it is connected to.
    private var place = 0
    /// The one peer of it.
    private static let server = PeerID(bytes: [0])
    /// Set once, before the thread knows the socket.
    var wake: @Sendable () -> Void = {}

    init(
        context: ZMQContext, addresses: [EndpointList.Entry], hello: Hello, options: TransportOptions,
        security: ClientSecurity, events: Sink<ClientEvent>
    ) throws(WireError) {
        self.security = security
        self.addresses = addresses
        family = AddressFamily(of: addresses[0].address)
        self.options = options
        self.events = events
        unfinished = UnfinishedMessages(options)
        limits = WireLimits(
            headerByteCount: WireLimits.client.headerByteCount, messageByteCount: options.messageByteCount)
        account = SendAccount()
        state = Monitor(
            State(
                hello: hello, handshake: .greeting(next: .now, deadline: .now + options.helloDeadline),
                moveAt: addresses.count > 1 ? .now + options.serverPatience : nil, endpoint: addresses[0].text))
        socket = try ZMQSocket(ZMQ_DEALER, context: context, options: options)
        // An identity that outlives a broken connection, and that nobody else guesses.
        var random = SystemRandomNumberGenerator()
        try socket.set(ZMQ_ROUTING_ID, bytes: [1] + (0..<15).map { _ in UInt8.random(in: 0...255, using: &random) })
        try socket.set(ZMQ_RECONNECT_IVL, Int32(100))
        try socket.set(ZMQ_RECONNECT_IVL_MAX, Int32(1000))
        try socket.secure(security)
        monitor = try SocketMonitor(of: socket, context: context)
    }

    // MARK: Any thread

    var counters: WireCounters { state.withLock { $0.counters } }
    var endpoint: String { state.withLock { $0.endpoint } }
    var waitingByteCount: Int { account.byteCount }
    var isWelcomed: Bool { state.withLock { if case .welcomed = $0.handshake { true } else { false } } }

    func update(_ hello: Hello) { state.withLock { $0.hello = hello } }

    func greet(_ hello: Hello?) {
        state.withLock { state in
            if let hello { state.hello = hello }
            greet(&state)
        }
        wake()
    }

    private func greet(_ state: inout State) {
        state.handshake = .greeting(next: .now, deadline: .now + options.helloDeadline)
        state.moveAt = addresses.count > 1 ? .now + options.serverPatience : nil
        state.hellos = []
        state.queue = []
    }

    func send(_ message: WireMessage, request: UInt64?) -> SendResult {
        let number = state.withLock { state in
            if request == nil { state.lastRequest += 1 }
            return request ?? state.lastRequest
        }
        let encoded: EncodedMessage
        do { encoded = try WireCodec.encode(message, request: number, series: ReceiveMemory.nextSeries()) } catch {
            state.withLock { $0.counters.unencodable += 1 }
            return .unencodable(error)
        }
        let result: SendResult = state.withLock { state in
            guard !state.isClosed else { return .closed }
            guard case .welcomed = state.handshake else { return .notWelcomed }
            guard let charge = account.charge(encoded, capacity: options.sendByteCapacity) else {
                state.counters.overfull += 1
                return .full
            }
            state.queue.append(OutgoingMessage(encoded: encoded, charge: charge))
            return .queued(request: number)
        }
        if case .queued = result { wake() }
        return result
    }

    // MARK: The socket's thread

    var wantsMessages: Bool { !events.isFull() }

    func advance(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        let (dropped, nextDrop) = unfinished.dropOverdue(now, isReading: wantsMessages)
        reconnectIfDue(now)
        moveOnIfDue(now)
        if family?.changes(at: now) == true {
            socket.reconnect(addresses[place].address, byIPv6: family?.isIPv6 ?? false)
        }
        let (queue, next, isOverdue) = state.withLock { state in
            state.counters.unfinished += dropped
            let (next, isOverdue) = advanceHandshake(&state, now)
            defer { state.queue = [] }
            return (state.queue, next, isOverdue)
        }
        for message in queue {
            let outcome = socket.send(message, to: nil)
            state.withLock { state in
                guard case .sent = outcome else {
                    state.counters.unreachable += 1
                    return
                }
                state.counters.sent += 1
                state.counters.bytesOut += message.encoded.byteCount
            }
        }
        if isOverdue { events.post(.unanswered(endpoint: endpoint), 0) }
        return [next, nextDrop, state.withLock { $0.reconnectAt }, nextMove, family?.next].compactMap { $0 }.min()
    }

    /// Queues a hello when one is due; returns the time of the next and whether the deadline passed.
    private func advanceHandshake(
        _ state: inout State, _ now: ContinuousClock.Instant
    ) -> (ContinuousClock.Instant?, Bool) {
        guard case .greeting(var next, var deadline) = state.handshake else { return (nil, false) }
        if now >= next {
            next = now + options.helloInterval
            state.lastRequest += 1
            do {
                let encoded = try WireCodec.encode(.hello(state.hello), request: state.lastRequest)
                // A server that is away gets one hello when it comes, not one for each time we tried.
                let isFirst = state.hellos.isEmpty || account.byteCount == 0
                if isFirst, let charge = account.charge(encoded, capacity: options.sendByteCapacity) {
                    state.hellos.insert(state.lastRequest)
                    state.queue.append(OutgoingMessage(encoded: encoded, charge: charge))
                }
            } catch {
                state.counters.unencodable += 1
                state.handshake = .refused
                events.post(.refused(Refusal(.malformed, "our own hello: \(error.message)")), 0)
                return (nil, false)
            }
        }
        let isOverdue = now >= deadline
        if isOverdue { deadline = now + options.helloDeadline }
        state.handshake = .greeting(next: next, deadline: deadline)
        return (min(next, deadline), isOverdue)
    }

    func receive() {
        for _ in 0..<256 where wantsMessages {
            guard let received = socket.receive(limit: Bound.tensors + 2) else { return }
            let (frames, byteCount) = (received.frames, received.byteCount)
            state.withLock { $0.counters.bytesIn += byteCount }
            do {
                let (request, part) = try WireCodec.decode(frames[...], limits: limits) {
                    options.memory.storage(byteCount: $0)
                }
                if let (request, message, byteCount) = try complete(part, request, byteCount) {
                    accept(message, request: request, byteCount: byteCount)
                }
            } catch {
                state.withLock { $0.counters.reject(error.refusalCode) }
            }
        }
    }

    /// Puts a large message together; returns what is whole.
    private func complete(
        _ part: WirePart, _ request: UInt64, _ byteCount: Int
    ) throws(WireError) -> (request: UInt64, message: WireMessage, byteCount: Int)? {
        if case .fragment(let fragment) = part {
            let finished = try unfinished.add(fragment, of: ClientCore.server)
            state.withLock { $0.counters.parts += 1 }
            if finished == nil, let step = options.arrivalByteCount,
                let reply = unfinished.arrivingReply(of: ClientCore.server, every: step)
            {
                events.post(.arriving(reply), 0)
            }
            return finished.map { ($0.request, $0.message, $0.byteCount) }
        }
        // The fragments of a message follow it at once: the server has given up what is not finished by now.
        if let dropped = unfinished.drop(ClientCore.server) {
            state.withLock { $0.counters.reject(dropped.interruption.code) }
        }
        guard case .announcement(let announced) = part else { return part.message.map { (request, $0, byteCount) } }
        try unfinished.begin(announced, of: ClientCore.server)
        state.withLock { $0.counters.parts += 1 }
        return nil
    }

    private func accept(_ message: WireMessage, request: UInt64, byteCount: Int) {
        let event: ClientEvent? = state.withLock { state in
            state.counters.received += 1
            state.lastHeard = .now
            switch message {
            case .welcome(let welcome):
                guard case .greeting = state.handshake, state.hellos.contains(request) else { return nil }
                if let refusal = objection(to: welcome, hello: state.hello, at: state.endpoint) {
                    state.handshake = .refused
                    return .refused(refusal)
                }
                state.handshake = .welcomed
                state.moveAt = nil
                state.silence = .milliseconds(max(1000, welcome.leaseMilliseconds))
                return .welcomed(welcome)
            case .standingBy(let standing):
                standBy(&state, isAsked: standing.question != nil)
                return .standingBy(endpoint: state.endpoint, standing)
            case .refused(let refusal) where refusal.code == .notWelcomed:
                // The server was restarted or has forgotten us.
                if case .welcomed = state.handshake { greet(&state) }
                return nil
            case .refused(let refusal) where state.hellos.contains(request):
                guard case .greeting = state.handshake else { return nil }
                state.handshake = .refused
                state.moveAt = nil
                return .refused(refusal)
            default: return .received(request: request, message: message)
            }
        }
        if let event { events.post(event, byteCount) }
    }

    /// What is wrong with a server's welcome.
    private func objection(to welcome: Welcome, hello: Hello, at endpoint: String) -> Refusal? {
        if welcome.protocolVersion != wireProtocolVersion {
            return Refusal(
                .protocolVersion,
                "\(endpoint) speaks protocol version \(welcome.protocolVersion), this process \(wireProtocolVersion)")
        }
        if !hello.clusterID.isEmpty && welcome.clusterID != hello.clusterID {
            return Refusal(
                .clusterID, "\(endpoint) belongs to cluster \"\(welcome.clusterID)\", not \"\(hello.clusterID)\"")
        }
        return nil
    }

    // MARK: Several servers

    /// The server does not serve. What it asks, the next hello answers.
    private func standBy(_ state: inout State, isAsked: Bool) {
        let next = ContinuousClock.now + options.standbyPause
        if case .welcomed = state.handshake { state.hellos = [] }
        state.handshake = .greeting(next: next, deadline: .now + options.helloDeadline)
        state.queue = []
        state.moveAt = addresses.count > 1 ? (isAsked ? .now + options.serverPatience : next) : nil
    }

    private var nextMove: ContinuousClock.Instant? {
        state.withLock { state in
            if case .welcomed = state.handshake, addresses.count > 1 {
                return state.silence.map { state.lastHeard + $0 }
            }
            return state.moveAt
        }
    }

    private func moveOnIfDue(_ now: ContinuousClock.Instant) {
        guard let due = nextMove, due <= now else { return }
        let old = place
        place = (place + 1) % addresses.count
        let next = addresses[place]
        let silent: String? = state.withLock { state in
            let silent: String? = if case .welcomed = state.handshake { state.endpoint } else { nil }
            state.endpoint = next.text
            state.reconnectAt = nil
            greet(&state)
            return silent
        }
        _ = unfinished.drop(ClientCore.server)
        family = AddressFamily(of: next.address)
        socket.move(from: addresses[old].address, to: next.address, byIPv6: family?.isIPv6 ?? false)
        if let silent { events.post(.silent(endpoint: silent), 0) }
    }

    // MARK: Handshakes of ZeroMQ

    func observe() {
        while let event = monitor?.next() {
            switch event {
            case .succeeded:
                brokenHandshakes = 0
                family?.keep()
            case .failed(let reason):
                // Where a server answers, if only to turn this client away, it is looked for again.
                family?.lost(at: .now)
                failed(reason)
            case .disconnected: family?.lost(at: .now)
            case .accepted, .acceptFailed: break
            }
        }
    }

    private func failed(_ reason: HandshakeFailure.Reason) {
        let failure = HandshakeFailure(reason, at: addresses[place].text, with: security)
        if failure.isFinal {
            // ZeroMQ does not try again. We do: the server may be started anew with the right keys, or accept ours from now on.
            state.withLock { $0.reconnectAt = .now + .seconds(1) }
        } else {
            // A server that ends just then breaks a handshake off as well, but not again and again within seconds.
            if ContinuousClock.now - lastBroken > .seconds(10) { brokenHandshakes = 0 }
            lastBroken = .now
            brokenHandshakes += 1
            guard brokenHandshakes >= 3 else { return }
        }
        guard reason != reported || ContinuousClock.now >= nextReport else { return }
        reported = reason
        nextReport = .now + options.helloDeadline
        events.post(.handshakeFailed(failure), 0)
    }

    private func reconnectIfDue(_ now: ContinuousClock.Instant) {
        let isDue = state.withLock { state in
            guard let time = state.reconnectAt, time <= now else { return false }
            state.reconnectAt = nil
            return true
        }
        if isDue { socket.reconnect(addresses[place].address, byIPv6: family?.isIPv6 ?? false) }
    }

    func detach() {
        unfinished.dropAll()
        state.withLock { state in
            state.isClosed = true
            state.queue = []
        }
    }
}
