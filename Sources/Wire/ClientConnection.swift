public import Cluster
import NetworkAddress

/// What happens at a client's socket.
public enum ClientEvent: Sendable {
    /// The handshake succeeded: at first, and again after the server was restarted or forgot us. What was sent before and
    /// is not answered must be sent again.
    case welcomed(Welcome)
    /// The server refused the hello. The connection stays silent until `greet` is called.
    case refused(Refusal)
    /// The connection cannot be made because keys do not fit; it goes on trying, and tells again every ten seconds.
    case handshakeFailed(HandshakeFailure)
    /// No answer to the hello for `TransportOptions.helloDeadline`; the connection goes on trying.
    case unanswered(endpoint: String)
    /// The server was silent for a lease: the connection says hello to the next one.
    case silent(endpoint: String)
    /// A coordinator that does not decide. The connection goes on to the next one, or, if it is asked something, stays until it is not.
    case standingBy(endpoint: String, StandingBy)
    /// A part of a large step reply (`TransportOptions.arrivalByteCount`). The whole one follows, unless the connection is lost.
    case arriving(ArrivingReply)
    /// A message; `request` is the number of our request that it answers, or 0.
    case received(request: UInt64, message: WireMessage)
}

/// A connection to a server, which says hello by itself and again whenever the server asks for it.
///
/// Of several servers, of which one serves at a time, it is connected to one: it goes on to the next when that one is silent, or says that it only
/// stands by.
///
/// Until it is welcomed nothing can be sent. All methods may be called from any thread and do not wait.
public final class ClientConnection: Sendable {
    private let core: ClientCore
    private let thread: IOThread
    private let ownsThread: Bool

    /// Starts to connect and to say hello; the outcome is an event.
    ///
    /// - Parameters:
    ///   - endpoint: of the server, or of several, with commas between them.
    ///   - security: how it proves who it is.
    ///   - thread: the thread to run on, shared with other connections; its own one if nil.
    /// - Throws: `WireError` for an endpoint that is none.
    public init(
        connect endpoint: String, hello: Hello, options: TransportOptions = TransportOptions(),
        security: ClientSecurity = .none, thread: IOThread? = nil, events: Sink<ClientEvent>
    ) throws(WireError) {
        let io: IOThread
        if let thread { io = thread } else { io = try IOThread() }
        self.thread = io
        ownsThread = thread == nil
        let addresses = try EndpointList(checked: endpoint).endpoints
        core = try ClientCore(
            context: io.core.context, addresses: addresses, hello: hello, options: options, security: security,
            events: events)
        core.wake = { [weak io = io.core] in io?.wake() }
        do throws(WireError) {
            try core.socket.connect(addresses[0].address)
            try io.core.add(core)
        } catch {
            // The thread's end waits for its sockets.
            core.close()
            throw error
        }
        events.whenDrained { [weak io = io.core] in io?.wake() }
    }

    /// Sends a message under `request`, or under the next free number.
    ///
    /// The tensors' storage must not change any more: it is read until ZeroMQ has sent it.
    @discardableResult
    public func send(_ message: WireMessage, request: UInt64? = nil) -> SendResult {
        core.send(message, request: request)
    }

    /// Replaces the hello that is said at the next handshake, for instance when the state it speaks of has moved on.
    public func update(_ hello: Hello) { core.update(hello) }

    /// Says hello (again), with a new one if given, and waits for the welcome before anything else is sent.
    public func greet(_ hello: Hello? = nil) { core.greet(hello) }

    /// The server that it is connected to, or tries to be.
    public var endpoint: String { core.endpoint }

    public var isWelcomed: Bool { core.isWelcomed }

    public var counters: WireCounters { core.counters }

    /// Bytes that wait to be sent.
    public var waitingByteCount: Int { core.waitingByteCount }

    /// Closes the connection and waits for it. May be called again.
    public func close() {
        if ownsThread { thread.close() } else { thread.core.remove(core) }
    }

    deinit { close() }
}
