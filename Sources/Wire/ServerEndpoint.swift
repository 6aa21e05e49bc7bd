public import Cluster
public import NetworkAddress

/// What happens at a server's socket.
public enum ServerEvent: Sendable {
    /// A message that decodes, of a peer that was welcomed, or a hello of any. Answers repeat `request`.
    case received(peer: PeerID, request: UInt64, message: WireMessage)
    /// The peer's handshake is void: too much waited to be sent to it. It must say hello again.
    case dropped(peer: PeerID)
    /// What a server with keys has to tell, to be logged.
    case security(SecurityEvent)
    /// What a server has to tell of connections that it ended, to be logged.
    case trouble(ConnectionTrouble)
}

/// A socket that many peers connect to.
///
/// What does not decode, or comes before the handshake, is refused and counted here; the owner sees the rest. The owner
/// answers every hello with `welcome` or `refuse`. All methods may be called from any thread and do not wait.
public final class ServerEndpoint: Sendable {
    /// Where it listens, with the port that the system chose.
    public let address: Endpoint
    private let isOpen: Bool
    private let core: ServerCore
    private let thread: IOThread
    private let ownsThread: Bool

    /// Listens.
    ///
    /// - Parameters:
    ///   - endpoint: `tcp://ADDRESS:PORT` or `ipc://PATH`; port `*` or 0 lets the system choose.
    ///   - security: whom it lets in, and what is encrypted.
    ///   - thread: the thread to run on; its own one if nil.
    ///   - events: where events go.
    /// - Throws: `WireError`, for instance when the port is taken.
    public init(
        bind endpoint: String, options: TransportOptions = TransportOptions(),
        security: ServerSecurity = .none, thread: IOThread? = nil, events: Sink<ServerEvent>
    ) throws(WireError) {
        let io: IOThread
        if let thread { io = thread } else { io = try IOThread() }
        self.thread = io
        ownsThread = thread == nil
        isOpen = security.accepted == nil
        core = try ServerCore(
            thread: io.core, isLocal: !endpoint.hasPrefix("tcp://"), options: options, security: security,
            events: events)
        core.wake = { [weak io = io.core] in io?.wake() }
        do throws(WireError) {
            address = try core.socket.bind(Endpoint(checked: endpoint, to: .listen))
            if case .tcp(let place) = address { core.watch.port = place.port ?? 0 }
            try io.core.add(core)
        } catch {
            // The thread's end waits for its sockets.
            core.detach()
            core.close()
            throw error
        }
        events.whenDrained { [weak io = io.core] in io?.wake() }
    }

    /// Where it listens, as text.
    public var endpoint: String { "\(address)" }

    /// Whether it listens at every address of this machine, so that the endpoint names none that a peer could use.
    public var isEverywhere: Bool { address.isEverywhere }

    /// What is to be said of a server that lets everyone in and that not only this machine reaches; else nil.
    public var warning: String? {
        guard isOpen, !address.isLocal else { return nil }
        return
            "\(endpoint) is open to everyone who reaches it, and nothing is encrypted: give all processes of the cluster keys (--keys, docs/security.md), or keep others off this network"
    }

    /// The endpoint under another host name or address, and perhaps another port, for peers on other machines.
    public func advertised(as name: AdvertisedAddress) -> String { "\(name.endpoint(of: address))" }

    /// The endpoint for peers on other machines: under the name if there is one, under `host` if it listens at every address of this machine,
    /// and as it is bound otherwise.
    ///
    /// - Throws: `AddressError` if `host` is needed and is none.
    public func endpoint(advertisedAs name: AdvertisedAddress?, host: String) throws(AddressError) -> String {
        if let name { return advertised(as: name) }
        return isEverywhere ? advertised(as: try AdvertisedAddress(host)) : endpoint
    }

    /// Accepts a peer: from now on its messages are delivered.
    @discardableResult
    public func welcome(_ peer: PeerID, request: UInt64, _ welcome: Welcome) -> SendResult {
        core.setWelcomed(peer, as: welcome.member)
        return core.send(.welcome(welcome), to: peer, request: request)
    }

    /// Answers with a refusal and counts it. A peer that was welcomed stays so.
    @discardableResult
    public func refuse(_ peer: PeerID, request: UInt64, _ refusal: Refusal) -> SendResult {
        core.refuse(peer, request: request, refusal)
    }

    /// Sends a message; an answer repeats the request's number, 0 is for messages nobody asked for.
    ///
    /// The tensors' storage must not change any more: it is read until ZeroMQ has sent it.
    @discardableResult
    public func send(_ message: WireMessage, to peer: PeerID, request: UInt64 = 0) -> SendResult {
        core.send(message, to: peer, request: request)
    }

    /// Whether a peer is there, as far as the server knows: whoever is gone need not be answered.
    public func isConnected(_ peer: PeerID) -> Bool { core.isConnected(peer) }

    /// Makes a peer say hello again before anything else of it is delivered.
    public func forget(_ peer: PeerID) { core.forget(peer) }

    /// Bytes that wait to be sent to a peer.
    public func waitingByteCount(for peer: PeerID) -> Int { core.waitingByteCount(for: peer) }

    /// Fragments of large messages that a peer has sent: while they come, it is not silent.
    public func fragmentCount(of peer: PeerID) -> Int { core.fragmentCount(of: peer) }

    public var counters: WireCounters { core.counters }

    /// Stops listening and closes all connections; waits for it. May be called again.
    public func close() {
        if ownsThread { thread.close() } else { thread.core.remove(core) }
    }

    deinit { close() }
}
