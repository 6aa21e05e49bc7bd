import Cluster
import NetworkAddress

/// A connection for commands: every call waits for its answer, with a deadline.
public final class OperatorClient: Sendable {
    private let mailbox = Mailbox<ClientEvent>()
    private let connection: ClientConnection

    /// Connects to a coordinator or shard.
    ///
    /// - Parameter endpoints: of it, or of several coordinators of which one decides, with commas between them.
    /// - Throws: `WireError` when there is no answer within `deadline`, keys do not fit, or the server refuses.
    public init(
        connect endpoints: String, hello: Hello? = nil,
        options: TransportOptions = TransportOptions(), security: ClientSecurity = .none,
        deadline: Duration = .seconds(5)
    ) throws(WireError) {
        var options = options
        options.helloInterval = min(options.helloInterval, .milliseconds(500))
        // Each of several has its turn, twice.
        let count = Endpoint.each(of: endpoints).count
        options.serverPatience = min(options.serverPatience, deadline / (2 * count))
        connection = try ClientConnection(
            connect: endpoints, hello: hello ?? Hello(role: .operator, incarnation: 0), options: options,
            security: security, events: mailbox.sink { $0 })
        let end = ContinuousClock.now + deadline
        var failure: HandshakeFailure?
        var standby: String?
        while let event = mailbox.next(until: end) {
            switch event {
            case .welcomed: return
            case .refused(let refusal):
                throw WireError(Self.code(of: refusal), "\(connection.endpoint) refused: \(refusal.message)")
            case .handshakeFailed(let known):
                failure = known
                // The other side may only just be starting.
                if known.isFinal { throw WireError(.forbidden, known.message) }
            case .standingBy(let endpoint, let standing):
                standby = "\(endpoint) does not coordinate: \(standing.message)"
                if !endpoints.contains(",") { throw WireError(.refused, standby ?? "") }
            case .unanswered, .silent, .arriving, .received: continue
            }
        }
        if let standby { throw WireError(.refused, standby) }
        if let failure { throw WireError(.forbidden, failure.message) }
        throw WireError(.overdue, "no answer from \(endpoints) within \(deadline): \(silence)")
    }

    /// What is known of a server that has not answered.
    private var silence: String {
        let counters = connection.counters
        if connection.waitingByteCount > 0 { return "nobody takes what is sent there; is it the right address?" }
        return "it was sent \(counters.sent) hellos, \(counters.bytesIn) bytes came back"
    }

    /// Sends a message and waits for the answer.
    ///
    /// - Throws: `WireError` when there is no answer within `deadline`, the server refuses, or the message cannot be sent.
    public func request(_ message: WireMessage, deadline: Duration = .seconds(10)) throws(WireError) -> WireMessage {
        let end = ContinuousClock.now + deadline
        var expected = try send(message)
        while let event = mailbox.next(until: end) {
            switch event {
            case .received(expected, .refused(let refusal)):
                throw WireError(Self.code(of: refusal), "the server refused \(message.name): \(refusal.message)")
            case .received(expected, let answer): return answer
            case .refused(let refusal):
                throw WireError(Self.code(of: refusal), "the server refused: \(refusal.message)")
            case .handshakeFailed(let failure) where failure.isFinal: throw WireError(.forbidden, failure.message)
            case .welcomed: expected = try send(message)
            case .received, .handshakeFailed, .arriving, .unanswered, .silent, .standingBy: continue
            }
        }
        throw WireError(.overdue, "no answer to \(message.name) from \(connection.endpoint) within \(deadline)")
    }

    private static func code(of refusal: Refusal) -> WireError.Code {
        refusal.code == .forbidden ? .forbidden : .refused
    }

    private func send(_ message: WireMessage) throws(WireError) -> UInt64 {
        switch connection.send(message) {
        case .queued(let request): return request
        case .unencodable(let error): throw error
        case .notWelcomed: return .max  // The answer to the next hello sends it again.
        case .full: throw WireError(.tooLarge, "too much waits to be sent to \(connection.endpoint)")
        case .closed: throw WireError(.closed, "the connection to \(connection.endpoint) is closed")
        }
    }

    public func close() { connection.close() }
}
