import CZeroMQ
import Cluster
import StepProtocol
import Synchronization
import Wire

#if canImport(Glibc)
    import Glibc
#endif

/// A server whose loop welcomes whom the policy allows, everyone without one, and answers by a closure.
final class TestServer: Sendable {
    let mailbox = Mailbox<ServerEvent>()
    let server: ServerEndpoint
    /// What the server has to tell of keys.
    let securityEvents = Mailbox<SecurityEvent>()
    private let done = Mailbox<Bool>()

    init(
        bind endpoint: String = "tcp://127.0.0.1:*", options: TransportOptions = TransportOptions(),
        security: ServerSecurity = .none,
        policy: HandshakePolicy? = HandshakePolicy(
            clusterID: "test", embeddingSize: 512, classCount: 5530, configurationHash: "hash"),
        answer: @escaping @Sendable (WireMessage) -> WireMessage? = { _ in .acknowledged }
    ) throws {
        server = try ServerEndpoint(bind: endpoint, options: options, security: security, events: mailbox.sink { $0 })
        let (mailbox, server, done, securityEvents) = (mailbox, server, done, securityEvents)
        Thread.start {
            while !mailbox.isClosed {
                guard let event = mailbox.next(within: .seconds(1)) else { continue }
                if case .security(let event) = event { securityEvents.post(event) }
                guard case .received(let peer, let request, let message) = event else { continue }
                if case .hello(let hello) = message {
                    switch policy?.check(hello) ?? .success(()) {
                    case .success:
                        server.welcome(
                            peer, request: request, Welcome(clusterID: "test", member: MemberID(hello.role, 1)))
                    case .failure(let refusal): server.refuse(peer, request: request, refusal)
                    }
                } else if let reply = answer(message) {
                    server.send(reply, to: peer, request: request)
                }
            }
            done.post(true)
        }
    }

    /// May be called again.
    func close() {
        mailbox.close()
        _ = done.next(within: .seconds(10))
        done.close()
        server.close()
    }
}

/// A coordinator that stands by, until it is told to serve.
final class TestStandby: Sendable {
    let server: ServerEndpoint
    private let mailbox = Mailbox<ServerEvent>()
    private let isServing = Mutex(false)

    init() {
        do { server = try ServerEndpoint(bind: "tcp://127.0.0.1:*", events: mailbox.sink { $0 }) } catch {
            fatalError("\(error)")
        }
        let (mailbox, server) = (mailbox, server)
        Thread.start { [self] in
            while !mailbox.isClosed {
                guard case .received(let peer, let request, .hello(let hello))? = mailbox.next(within: .seconds(1))
                else { continue }
                if isServing.withLock({ $0 }) {
                    server.welcome(
                        peer, request: request, Welcome(clusterID: "test", member: MemberID(hello.role, 1)))
                } else {
                    server.send(.standingBy(StandingBy(message: "for another one")), to: peer, request: request)
                }
            }
        }
    }

    func serves() { isServing.withLock { $0 = true } }

    func close() {
        mailbox.close()
        server.close()
    }
}

enum Thread {
    private final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Runs `body` on a thread that nobody joins.
    static func start(_ body: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let box = Unmanaged.passRetained(Box(body)).toOpaque()
        pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
                return nil
            }, box)
        pthread_detach(thread)
    }
}

/// A DEALER socket that sends whatever bytes it is told to.
final class RawPeer {
    private let context = zmq_ctx_new()
    private let socket: UnsafeMutableRawPointer?

    /// - Parameter configure: sets options before it connects.
    init(_ endpoint: String, _ configure: (UnsafeMutableRawPointer?) -> Void = { _ in }) {
        socket = zmq_socket(context, ZMQ_DEALER)
        configure(socket)
        var zero: Int32 = 0
        zmq_setsockopt(socket, ZMQ_LINGER, &zero, MemoryLayout<Int32>.size)
        zmq_setsockopt(socket, ZMQ_SNDHWM, &zero, MemoryLayout<Int32>.size)
        var timeout: Int32 = 20_000
        zmq_setsockopt(socket, ZMQ_RCVTIMEO, &timeout, MemoryLayout<Int32>.size)
        zmq_connect(socket, endpoint)
    }

    deinit {
        zmq_close(socket)
        zmq_ctx_term(context)
    }

    func send(_ frames: [[UInt8]]) {
        for (index, frame) in frames.enumerated() {
            zmq_send(socket, frame, frame.count, index + 1 < frames.count ? ZMQ_SNDMORE : 0)
        }
    }

    /// The next message, or nil after 20 seconds, or at once when not `waiting`.
    func receive(waiting: Bool = true) -> [[UInt8]]? {
        var frames: [[UInt8]] = []
        while true {
            var part = zmq_msg_t()
            zmq_msg_init(&part)
            defer { zmq_msg_close(&part) }
            guard zmq_msg_recv(&part, socket, waiting ? 0 : ZMQ_DONTWAIT) >= 0 else { return nil }
            frames.append(Array(UnsafeRawBufferPointer(start: zmq_msg_data(&part), count: zmq_msg_size(&part))))
            if zmq_msg_more(&part) == 0 { return frames }
        }
    }

    func receiveMessage() throws -> (request: UInt64, message: WireMessage)? {
        try receive().map { try Frames($0).decoded() }
    }
}
