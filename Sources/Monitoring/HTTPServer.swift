internal import Foundation

/// A small HTTP server for pages that are only read, on one thread of its own.
///
/// It never waits for anything but its sockets, so the handler must answer from what it has at hand. Everything that a client
/// can make it keep is bounded: connections, the bytes of a request, and the time that either takes. What cannot be served is
/// answered with what is wrong. FlyingFox, the small library for this, ends a connection without an answer to what is malformed,
/// and bounds neither the length of a line nor the number of connections; both matter in a process that trains.
public final class HTTPServer: @unchecked Sendable {
    public typealias Handler = @Sendable (HTTPRequest) -> HTTPResponse

    /// Where it listens, with the port that the system chose.
    public let address: HTTPAddress
    private let handler: Handler
    private let counters: HTTPCounters
    private let listener: ListeningSocket
    private let lock = NSCondition()
    private var isClosing = false
    private var hasEnded = false
    // On the thread only.
    private var connections: [HTTPConnection] = []
    private var acceptsAfter = ContinuousClock.now

    static let connectionLimit = 64

    /// Listens, and starts the thread.
    ///
    /// - Parameter counters: counts the answers.
    /// - Throws: `HTTPServerError` if the address is not one of this machine or is taken.
    public init(
        bind: HTTPAddress, counters: HTTPCounters = HTTPCounters(), handler: @escaping Handler
    ) throws(HTTPServerError) {
        self.counters = counters
        listener = try ListeningSocket(bind)
        address = HTTPAddress(host: bind.host, port: listener.port)
        self.handler = handler
        let thread = Thread { [self] in run() }
        thread.name = "http"
        thread.start()
    }

    /// What a browser on this machine opens.
    public var url: String {
        let isEverywhere = address.fromThisMachine != address
        return "http://\(isEverywhere ? HTTPAddress(host: "localhost", port: address.port) : address)/"
    }

    /// Closes every connection and waits for the thread's end.
    public func close() {
        lock.withLock {
            isClosing = true
            listener.wake()
            while !hasEnded { lock.wait() }
        }
    }

    private func run() {
        while !lock.withLock({ isClosing }) {
            turn()
        }
        for connection in connections { Glibc.close(connection.socket) }
        listener.close()
        lock.withLock {
            hasEnded = true
            lock.broadcast()
        }
    }

    private func turn() {
        let now = ContinuousClock.now
        let accepts = acceptsAfter <= now
        var polled = [
            pollfd(fd: listener.wakeup, events: Int16(POLLIN), revents: 0),
            pollfd(fd: accepts ? listener.socket : -1, events: Int16(POLLIN), revents: 0),
        ]
        polled += connections.map { pollfd(fd: $0.socket, events: $0.events, revents: 0) }
        let next = (connections.map(\.deadline) + [accepts ? now + .seconds(60) : acceptsAfter]).min() ?? now
        let milliseconds = max(0, (next - now) / .milliseconds(1)).rounded(.up)
        guard poll(&polled, nfds_t(polled.count), Int32(milliseconds)) >= 0 else { return }
        for index in connections.indices {
            if polled[index + 2].revents != 0 { connections[index].advance(answer) }
            if connections[index].deadline <= .now { connections[index].expire(answer) }
        }
        connections.removeAll {
            guard case .over = $0.phase else { return false }
            Glibc.close($0.socket)
            return true
        }
        if polled[1].revents != 0 { accept() }
    }

    private func accept() {
        let socket = listener.accept()
        if socket >= 0 {
            connections.append(HTTPConnection(socket: socket))
            // Clients that open connections and say nothing must not keep others out.
            if connections.count > Self.connectionLimit { dropOldest() }
        } else if errno != EAGAIN && errno != EINTR && errno != ECONNABORTED {
            // No descriptors or no memory: some come back when connections end.
            acceptsAfter = .now + .milliseconds(200)
        }
    }

    private func dropOldest() {
        Glibc.close(connections[0].socket)
        connections.removeFirst()
    }

    private func answer(_ request: Result<HTTPRequest, HTTPRefusal>) -> (HTTPResponse, isHead: Bool) {
        let response: HTTPResponse
        var isHead = false
        switch request {
        case .success(let request):
            isHead = request.isHead
            response = handler(request)
        case .failure(let refusal): response = .error(refusal.status, refusal.message)
        }
        counters.note(response.status)
        return (response, isHead)
    }
}
