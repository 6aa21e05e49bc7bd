internal import CZeroMQ
import Cluster
import Glibc
import NetworkAddress
import Tensors

/// A ZeroMQ socket. Used by one thread at a time: by the one that makes it until it is handed to an `IOThread`.
final class ZMQSocket: @unchecked Sendable {
    let handle: UnsafeMutableRawPointer
    /// Whether what is received comes with the user id that its peer was let in under.
    var readsUser = false
    /// Whether everything is encrypted (CURVE).
    var isEncrypted = false
    private(set) var isClosed = false

    /// A message that came.
    struct Received {
        var frames: [TensorStorage]
        /// What `ZAPHandler` called the peer; nil where nobody was asked.
        var user: String?
        /// The descriptor of the connection; -1 where there is none.
        var descriptor: Int32 = -1
        /// Bytes of all frames, those that were thrown away too, without the routing id.
        var byteCount = 0
        /// Bytes that they took on the wire, with what ZeroMQ puts before each.
        var wireByteCount = 0
    }

    enum SendOutcome {
        case sent
        /// No connection with that identity.
        case unreachable
        /// ZeroMQ takes nothing now.
        case busy
    }

    init(_ type: Int32, context: ZMQContext, options: TransportOptions) throws(WireError) {
        handle = try context.openSocket(type)
        try set(ZMQ_LINGER, context.linger.milliseconds)
        try set(ZMQ_TCP_KEEPALIVE, Int32(1))
        try set(ZMQ_TCP_KEEPALIVE_IDLE, options.keepAlive.idle.wholeSeconds)
        try set(ZMQ_TCP_KEEPALIVE_INTVL, options.keepAlive.interval.wholeSeconds)
        try set(ZMQ_TCP_KEEPALIVE_CNT, Int32(options.keepAlive.count))
        try set(ZMQ_TCP_MAXRT, options.unacknowledged.milliseconds)
        // Bytes are bounded by SendAccount, so messages need not be. What is received waits in TCP rather than here.
        try set(ZMQ_SNDHWM, 0)
        try set(ZMQ_RCVHWM, 32)
        try set(ZMQ_MAXMSGSIZE, number: options.messageByteCount)
    }

    func set(_ option: Int32, number: Int) throws(WireError) {
        try set(option, bytes: withUnsafeBytes(of: Int64(number)) { Array($0) })
    }

    func set(_ option: Int32, _ value: Int32) throws(WireError) {
        try set(option, bytes: withUnsafeBytes(of: value) { Array($0) })
    }

    func set(_ option: Int32, bytes: [UInt8]) throws(WireError) {
        guard zmq_setsockopt(handle, option, bytes, bytes.count) == 0 else {
            throw ZMQSocket.error("cannot set socket option \(option)")
        }
    }

    /// Binds and returns the endpoint with the port that the system chose.
    ///
    /// Every address is that of IPv4 and of IPv6, where the system has it.
    func bind(_ endpoint: Endpoint) throws(WireError) -> Endpoint {
        if let problem = endpoint.listeningProblem { throw WireError(.system, "cannot listen at \(problem)") }
        switch endpoint {
        case .tcp(let address):
            switch address.host {
            case .ipv4: try setIPv6(false)
            case .ipv6: try setIPv6(true)
            case .name: try setIPv6(false)
            case .every: try setIPv6(true)
            }
        case .ipc: break
        }
        if zmq_bind(handle, "\(endpoint)") != 0 {
            let code = zmq_errno()
            // A system without IPv6, or an interface that has no other address.
            let (isName, isEvery) = Self.kind(endpoint)
            guard (isEvery && code != EADDRINUSE) || isName else { throw Self.bindError(endpoint, code) }
            try setIPv6(isName)
            guard zmq_bind(handle, "\(endpoint)") == 0 else { throw Self.bindError(endpoint, code) }
        }
        guard let text = lastEndpoint, let bound = try? Endpoint(text, to: .listen) else {
            throw ZMQSocket.error("cannot read back the endpoint of \(endpoint)")
        }
        // ZeroMQ writes every address as [::], which reads as if it were IPv6 alone.
        guard case .tcp(let asked) = endpoint, asked.host == .every, case .tcp(let chosen) = bound else { return bound }
        return .tcp(HostPort(host: .every, port: chosen.port))
    }

    private var lastEndpoint: String? {
        var name = [CChar](repeating: 0, count: 1024)
        var count = name.count
        guard zmq_getsockopt(handle, ZMQ_LAST_ENDPOINT, &name, &count) == 0 else { return nil }
        return String(decoding: name.prefix(max(count - 1, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func kind(_ endpoint: Endpoint) -> (isName: Bool, isEvery: Bool) {
        guard case .tcp(let address) = endpoint else { return (false, false) }
        if case .name = address.host { return (true, false) }
        return (false, address.host == .every)
    }

    private static func bindError(_ endpoint: Endpoint, _ code: Int32) -> WireError {
        let hint =
            switch code {
            case EADDRINUSE: "; another process listens there, or did a moment ago"
            case EADDRNOTAVAIL, ENODEV:
                "; this machine has no such address: write one that it has, or tcp://*:PORT for every address"
            case EACCES: "; this user may not: use a port above 1023, or a directory that can be written"
            case EAFNOSUPPORT: "; this system has no IPv6"
            default: ""
            }
        return WireError(.system, "cannot listen at \(endpoint): \(String(cString: zmq_strerror(code)))\(hint)")
    }

    /// Connects; a name is looked up among the addresses of IPv4, or among those of IPv6 first.
    func connect(_ endpoint: Endpoint, byIPv6: Bool = false) throws(WireError) {
        try setIPv6(Self.usesIPv6(endpoint, byIPv6))
        try connectUnchecked("\(endpoint)")
    }

    /// Connects to another endpoint in the place of one. What waits to be sent to that one is dropped.
    func move(from old: Endpoint, to new: Endpoint, byIPv6: Bool = false) {
        zmq_disconnect(handle, "\(old)")
        try? setIPv6(Self.usesIPv6(new, byIPv6))
        zmq_connect(handle, "\(new)")
    }

    /// Makes it connect anew to an endpoint that ZeroMQ has given up.
    func reconnect(_ endpoint: Endpoint, byIPv6: Bool = false) { move(from: endpoint, to: endpoint, byIPv6: byIPv6) }

    private static func usesIPv6(_ endpoint: Endpoint, _ byIPv6: Bool) -> Bool {
        guard case .tcp(let address) = endpoint else { return false }
        return switch address.host {
        case .ipv6: true
        case .ipv4, .every: false
        case .name: byIPv6
        }
    }

    /// Whether the next endpoint is looked up among the addresses of IPv6 too. ZeroMQ takes the first it finds, of IPv6 if there is
    /// one, and no other.
    private func setIPv6(_ isOn: Bool) throws(WireError) { try set(ZMQ_IPV6, Int32(isOn ? 1 : 0)) }

    /// Binds to an endpoint of any scheme, also `inproc`.
    func bindUnchecked(_ endpoint: String) throws(WireError) {
        guard zmq_bind(handle, endpoint) == 0 else { throw ZMQSocket.error("cannot listen at \(endpoint)") }
    }

    /// Connects to an endpoint of any scheme, also `inproc`.
    func connectUnchecked(_ endpoint: String) throws(WireError) {
        guard zmq_connect(handle, endpoint) == 0 else { throw ZMQSocket.error("cannot connect to \(endpoint)") }
    }

    /// The next message, or nil when there is none now. Frames after the first `limit` are thrown away.
    ///
    /// - Parameter hasIdentity: whether the first frame is the routing id that a ROUTER puts there.
    func receive(limit: Int, hasIdentity: Bool = false) -> Received? {
        var received = Received(frames: [])
        var isFirst = true
        while true {
            let message = UnsafeMutablePointer<zmq_msg_t>.allocate(capacity: 1)
            zmq_msg_init(message)
            var result = zmq_msg_recv(message, handle, ZMQ_DONTWAIT)
            while result < 0 && zmq_errno() == EINTR { result = zmq_msg_recv(message, handle, ZMQ_DONTWAIT) }
            guard result >= 0, let base = zmq_msg_data(message) else {
                zmq_msg_close(message)
                message.deallocate()
                return nil
            }
            // Asked first: a frame beyond the limit is let go at once, and the message with it.
            let more = zmq_msg_more(message) != 0
            if readsUser, received.user == nil, let text = zmq_msg_gets(message, "User-Id") {
                received.user = String(cString: text)
            }
            if hasIdentity, received.descriptor < 0 { received.descriptor = zmq_msg_get(message, ZMQ_SRCFD) }
            let byteCount = zmq_msg_size(message)
            if !(isFirst && hasIdentity) {
                received.byteCount += byteCount
                received.wireByteCount += ZMQSocket.wireByteCount(ofFrame: byteCount, isEncrypted: isEncrypted)
            }
            isFirst = false
            let address = UInt(bitPattern: message)
            let frame = TensorStorage(foreign: base, byteCount: byteCount) {
                guard let message = UnsafeMutablePointer<zmq_msg_t>(bitPattern: address) else { return }
                zmq_msg_close(message)
                message.deallocate()
            }
            if received.frames.count < limit { received.frames.append(frame) }
            if !more { return received }
        }
    }

    /// Bytes of a frame on the wire (ZMTP 3): its flags and length, and with CURVE the command around it.
    private static func wireByteCount(ofFrame byteCount: Int, isEncrypted: Bool) -> Int {
        let body = isEncrypted ? byteCount + 33 : byteCount
        return body + (body > 255 ? 9 : 2)
    }

    /// Whether a message waits to be read.
    var hasMessage: Bool {
        var events: Int32 = 0
        var size = MemoryLayout<Int32>.size
        guard zmq_getsockopt(handle, ZMQ_EVENTS, &events, &size) == 0 else { return false }
        return events & ZMQ_POLLIN != 0
    }

    /// Sends a small message of bytes; one that ZeroMQ does not take is lost.
    func send(frames: [[UInt8]]) {
        for (index, frame) in frames.enumerated() {
            let flags = ZMQ_DONTWAIT | (index + 1 < frames.count ? ZMQ_SNDMORE : 0)
            if zmq_send(handle, frame, frame.count, flags) < 0 { return }
        }
    }

    /// Sends a message, a large one in fragments, without copying its tensors; their storage is released when ZeroMQ is
    /// done with it.
    ///
    /// ZeroMQ takes the fragments at once: they are references. How many of them are in flight is up to the receiver, whose
    /// high-water mark lets the rest wait here.
    func send(_ message: OutgoingMessage, to peer: PeerID?) -> SendOutcome {
        for frames in message.encoded.parts {
            let outcome = send(frames, message.charge, to: peer)
            guard case .sent = outcome else { return outcome }
        }
        return .sent
    }

    private func send(_ frames: [Tensor], _ charge: SendCharge, to peer: PeerID?) -> SendOutcome {
        if let peer {
            let result = peer.bytes.withUnsafeBytes {
                zmq_send(handle, $0.baseAddress, $0.count, ZMQ_DONTWAIT | ZMQ_SNDMORE)
            }
            if result < 0 { return zmq_errno() == EAGAIN ? .busy : .unreachable }
        }
        for (index, frame) in frames.enumerated() {
            var part = zmq_msg_t()
            let lease = FrameLease(frame.storage, charge)
            zmq_msg_init_data(
                &part, frame.rawPointer, frame.byteCount,
                { _, hint in
                    if let hint { Unmanaged<FrameLease>.fromOpaque(hint).release() }
                }, Unmanaged.passRetained(lease).toOpaque())
            let flags = ZMQ_DONTWAIT | (index + 1 < frames.count ? ZMQ_SNDMORE : 0)
            if zmq_msg_send(&part, handle, flags) < 0 {
                let busy = zmq_errno() == EAGAIN
                zmq_msg_close(&part)
                return busy ? .busy : .unreachable
            }
        }
        return .sent
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        zmq_close(handle)
    }

    deinit { close() }

    static func error(_ what: String) -> WireError {
        WireError(.system, "\(what): \(String(cString: zmq_strerror(zmq_errno())))")
    }
}

/// Keeps a frame's bytes while ZeroMQ reads them.
private final class FrameLease {
    private let storage: TensorStorage
    private let charge: SendCharge

    init(_ storage: TensorStorage, _ charge: SendCharge) {
        self.storage = storage
        self.charge = charge
    }
}

/// A ZeroMQ context: its I/O threads and sockets.
final class ZMQContext: @unchecked Sendable {
    /// nil once it was terminated.
    private let handle: Monitor<UnsafeMutableRawPointer?>
    /// How long closed sockets go on sending.
    let linger: Duration

    init(linger: Duration) throws(WireError) {
        guard let handle = zmq_ctx_new() else { throw ZMQSocket.error("cannot start ZeroMQ") }
        self.handle = Monitor(handle)
        self.linger = linger
    }

    func openSocket(_ type: Int32) throws(WireError) -> UnsafeMutableRawPointer {
        try handle.withLock { handle throws(WireError) in
            guard let handle else { throw WireError(.closed, "the thread of the socket was closed") }
            guard let socket = zmq_socket(handle, type) else { throw ZMQSocket.error("cannot open a socket") }
            return socket
        }
    }

    /// Waits until every socket's last messages are sent or have lingered.
    func terminate() {
        let handle = handle.withLock { handle in
            defer { handle = nil }
            return handle
        }
        guard let handle else { return }
        while zmq_ctx_term(handle) != 0 && zmq_errno() == EINTR {}
    }
}
