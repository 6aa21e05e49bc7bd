import Cluster
import ClusterHarness
import StepProtocol
import Synchronization
import TestSupport
import Testing
import Wire

#if canImport(Glibc)
    import Glibc
#endif

/// The system gives the number of a connection that has ended to the next one, before the server has heard of the end.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20)), .serialized) struct ReusedDescriptorTests {
    /// The owner's side of a server, which can hold the thread of the socket where it hands in a message.
    private final class Gate: Sendable {
        let isHeld = Atomic(false)
        let isThere = Atomic(false)

        func pass() {
            guard isHeld.load(ordering: .sequentiallyConsistent) else { return }
            isThere.store(true, ordering: .sequentiallyConsistent)
            while isHeld.load(ordering: .sequentiallyConsistent) { usleep(500) }
        }
    }

    private func hello() throws -> [UInt8] {
        RawConnection.frame(try Frames(.hello(Hello(role: .operator, incarnation: 7))).frames[0])
    }

    private func wait(_ what: Comment, _ condition: () throws -> Bool) rethrows {
        let deadline = ContinuousClock.now + .seconds(60)
        while try !condition(), .now < deadline { usleep(500) }
        #expect(try condition(), what)
    }

    private static func port(
        _ descriptor: Int32, _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> UInt16? {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutableBytes(of: &address) { raw in
            raw.baseAddress.map { ask(descriptor, $0.assumingMemoryBound(to: sockaddr.self), &size) } ?? -1
        }
        return result == 0 && address.sin_family == sa_family_t(AF_INET) ? UInt16(bigEndian: address.sin_port) : nil
    }

    /// The descriptor of the server's end of a connection; both are of this process.
    private func serverEnd(of peer: RawConnection) -> Int32? {
        guard let port = Self.port(peer.descriptor, getsockname) else { return nil }
        return (0..<4096).first { $0 != peer.descriptor && Self.port($0, getpeername) == port }
    }

    /// Who speaks first over a number that was another's is there, whatever is told of the other afterwards.
    @Test func theNextConnectionIsNotTakenForTheLast() throws {
        let (gate, mailbox) = (Gate(), Mailbox<ServerEvent>())
        let server = try ServerEndpoint(
            bind: "tcp://127.0.0.1:*",
            events: mailbox.sink { event in
                gate.pass()
                return event
            })
        defer {
            gate.isHeld.store(false, ordering: .sequentiallyConsistent)
            server.close()
        }
        func greeted() throws -> PeerID {
            while let event = mailbox.next(within: .seconds(20)) {
                if case .received(let peer, _, .hello) = event { return peer }
            }
            throw HarnessError("no hello")
        }
        var others: [RawConnection] = []
        /// One more that is served: the thread has turned.
        func turn() throws {
            let other = try RawConnection(server.endpoint)
            other.send(try hello())
            _ = try greeted()
            others.append(other)
        }
        // Others of this process may be given the number first.
        for _ in 0..<200 {
            let first = try RawConnection(server.endpoint)
            first.send(try hello())
            _ = try greeted()
            let number = try #require(serverEnd(of: first))
            let holder = try RawConnection(server.endpoint)
            defer { withExtendedLifetime(holder) {} }
            gate.isThere.store(false, ordering: .sequentiallyConsistent)
            gate.isHeld.store(true, ordering: .sequentiallyConsistent)
            holder.send(try hello())
            wait("the thread is held") { gate.isThere.load(ordering: .sequentiallyConsistent) }
            let port = Self.port(number, getpeername)
            first.end()
            wait("the first connection is closed") { Self.port(number, getpeername) != port }
            let second = try RawConnection(server.endpoint)
            let isReused = serverEnd(of: second) == number
            second.send(try hello())
            usleep(isReused ? 50_000 : 0)  // it waits in ZeroMQ then
            gate.isHeld.store(false, ordering: .sequentiallyConsistent)
            _ = try greeted()
            let peer = try greeted()
            guard isReused else { continue }
            for _ in 0..<2 { try turn() }
            #expect(server.isConnected(peer))
            second.end()
            wait("its own end is heard of") { !server.isConnected(peer) }
            return
        }
        Issue.record("the number was never given to the next connection")
    }
}
