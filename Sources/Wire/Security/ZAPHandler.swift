internal import CZeroMQ
import Tensors

/// Answers ZeroMQ's question whether a peer is let in, for all servers of a context: RFC 27 of ZeroMQ.
///
/// Without a handler ZeroMQ lets every key in. So it is there before the first such socket listens, and says no to what it does not
/// know.
final class ZAPHandler: SocketDriver, @unchecked Sendable {
    typealias Check = @Sendable (ZAPRequest) -> AcceptedKey?

    private struct State {
        var checks: [String: Check] = [:]
        var count = 0
    }

    let socket: ZMQSocket
    let monitor: SocketMonitor? = nil
    private let state = Monitor(State())

    init(context: ZMQContext) throws(WireError) {
        socket = try ZMQSocket(ZMQ_ROUTER, context: context, options: TransportOptions())
        try socket.bindUnchecked("inproc://zeromq.zap.01")
    }

    /// Asks `check` about peers of one server from now on.
    ///
    /// - Returns: the domain that the server's socket is to name.
    func add(_ check: @escaping Check) -> String {
        state.withLock { state in
            state.count += 1
            let domain = "partialfc-\(state.count)"
            state.checks[domain] = check
            return domain
        }
    }

    func remove(_ domain: String) { state.withLock { $0.checks[domain] = nil } }

    let wantsMessages = true

    func advance(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant? { nil }

    func receive() {
        for _ in 0..<256 {
            guard let received = socket.receive(limit: 16) else { return }
            let frames = received.frames.map { Array(UnsafeRawBufferPointer(start: $0.base, count: $0.byteCount)) }
            guard let request = ZAPRequest(frames) else { continue }
            let key = state.withLock { $0.checks[request.domain] }?(request)
            // The user id is what every message of the connection carries from now on.
            let answer: [[UInt8]] = [
                Array("1.0".utf8), request.id, Array((key == nil ? "400" : "200").utf8), [],
                Array((key?.key.text ?? "").utf8), [],
            ]
            socket.send(frames: request.envelope + answer)
        }
    }

    func observe() {}

    func detach() {}
}

/// What ZeroMQ asks about a peer that connects.
struct ZAPRequest {
    /// The frames that the answer begins with.
    var envelope: [[UInt8]]
    var id: [UInt8]
    var domain: String
    /// The peer's address, without a port.
    var address: String
    var mechanism: String
    var credentials: [[UInt8]]

    /// nil for frames that are no request of version 1.0.
    init?(_ frames: [[UInt8]]) {
        guard frames.count >= 8, frames[1].isEmpty, frames[2] == Array("1.0".utf8) else { return nil }
        envelope = Array(frames[0..<2])
        id = frames[3]
        domain = String(decoding: frames[4], as: UTF8.self)
        address = String(decoding: frames[5], as: UTF8.self)
        mechanism = String(decoding: frames[7], as: UTF8.self)
        credentials = Array(frames[8...])
    }

    /// The public key that the peer claims; with CURVE it has proved that it holds the secret one.
    var claimedKey: PublicKey? {
        switch (mechanism, credentials.count) {
        case ("CURVE", 1): PublicKey(bytes: credentials[0])
        case ("PLAIN", 2): PublicKey(String(decoding: credentials[0], as: UTF8.self))
        default: nil
        }
    }

    /// Whether the peer may come in under an accepted key.
    func proves(_ accepted: AcceptedKey, to security: ServerSecurity) -> Bool {
        switch (security, mechanism) {
        case (.encrypted, "CURVE"): claimedKey == accepted.key
        case (.shown, "PLAIN"):
            // The server knows only the public half of what is shown: it can tell that they belong together.
            credentials.count == 2 && claimedKey == accepted.key
                && (try? SecretKey(String(decoding: credentials[1], as: UTF8.self))?.publicKey()) == accepted.bulkKey
        default: false
        }
    }
}
