import Cluster
import ClusterHarness
import StepProtocol
import Tensors
import TestSupport
import Testing
import Wire

#if canImport(Glibc)
    import Glibc
#endif

/// Peers that take what they can: a server keeps its memory, its descriptors, and its time for others.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20)), .serialized) struct HostileTests {
    /// Waits until something holds; a minute at most.
    private func wait(
        _ what: Comment, _ place: SourceLocation = #_sourceLocation, _ condition: () throws -> Bool
    ) rethrows {
        let deadline = ContinuousClock.now + .seconds(60)
        while try !condition(), .now < deadline { usleep(2000) }
        #expect(try condition(), what, sourceLocation: place)
    }

    private func hello(_ role: MemberRole) throws -> [UInt8] {
        RawConnection.frame(try Frames(.hello(Hello(role: role, incarnation: 7))).frames[0])
    }

    /// A connection that a server has welcomed.
    private func welcomed(_ server: TestServer, _ role: MemberRole) throws -> RawConnection {
        let peer = try RawConnection(server.server.endpoint)
        peer.send(try hello(role))
        _ = try #require(peer.receiveFrame())
        return peer
    }

    /// Somebody else is served as if nothing were.
    private func expectService(_ server: TestServer, _ place: SourceLocation = #_sourceLocation) throws {
        let client = try OperatorClient(connect: server.server.endpoint, deadline: .seconds(20))
        defer { client.close() }
        guard case .acknowledged = try client.request(.readSliceHashes, deadline: .seconds(20)) else {
            Issue.record("no answer", sourceLocation: place)
            return
        }
    }

    // MARK: libzmq

    /// libzmq 4.3.4 ends the process if its heartbeat is due on a connection that broke while its input was stopped. TCP asks instead.
    @Test func connectionsAreKeptAliveByTCP() throws {
        let server = try TestServer()
        defer { server.close() }
        let peer = try welcomed(server, .worker)
        let port = UInt16(server.server.endpoint.split(separator: ":").last ?? "") ?? 0
        let ends = (0..<1024).filter { Self.localPort(of: $0) == port && Self.isConnected($0) }
        #expect(!ends.isEmpty)
        for end in ends {
            #expect(Self.option(end, SOL_SOCKET, SO_KEEPALIVE) == 1)
            #expect(Self.option(end, Int32(IPPROTO_TCP), 4) == 15)  // TCP_KEEPIDLE
            #expect(Self.option(end, Int32(IPPROTO_TCP), 18) == 60_000)  // TCP_USER_TIMEOUT
        }
        // No PING comes: its own would be due after five seconds, as it was.
        peer.setPatience(seconds: 7)
        #expect(peer.receiveFrame() == nil, "a command came")
    }

    private static func option(_ descriptor: Int32, _ level: Int32, _ name: Int32) -> Int32 {
        var value: Int32 = -1
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, level, name, &value, &size) == 0 ? value : -1
    }

    private static func localPort(of descriptor: Int32) -> UInt16? {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutableBytes(of: &address) { raw in
            raw.baseAddress.map { getsockname(descriptor, $0.assumingMemoryBound(to: sockaddr.self), &size) } ?? -1
        }
        return result == 0 && address.sin_family == sa_family_t(AF_INET) ? UInt16(bigEndian: address.sin_port) : nil
    }

    private static func isConnected(_ descriptor: Int32) -> Bool {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        return withUnsafeMutableBytes(of: &address) { raw in
            raw.baseAddress.map { getpeername(descriptor, $0.assumingMemoryBound(to: sockaddr.self), &size) } ?? -1
        } == 0
    }

    /// A PING behind messages that were not read when the connection broke ends libzmq 4.3.4 as its own heartbeat does.
    @Test func peersThatPingAndBreakOff() throws {
        // Nothing is read: what comes waits in ZeroMQ.
        let mailbox = Mailbox<ServerEvent>(capacity: 1)
        let server = try ServerEndpoint(bind: "tcp://127.0.0.1:*", events: mailbox.sink { $0 })
        defer { server.close() }
        for _ in 0..<3 {
            let peers = try (0..<8).map { _ in try RawConnection(server.endpoint) }
            for peer in peers {
                // Unread answers make the end of it a reset.
                let message = RawConnection.frame(try Frames(.readSliceHashes, request: 3).frames[0])
                peer.send(try hello(.operator))
                peer.send((0..<300).flatMap { $0 % 10 == 9 ? message + RawConnection.ping : message })
            }
            usleep(100_000)
            for peer in peers { peer.end() }
            usleep(100_000)
            while mailbox.next(within: .milliseconds(50)) != nil {}
        }
        let client = try RawConnection(server.endpoint)
        defer { withExtendedLifetime(client) {} }
        client.send(try hello(.operator))
        guard case .received(_, _, .hello) = mailbox.next(within: .seconds(20)) else {
            throw HarnessError("the server does not go on")
        }
    }

    // MARK: Room

    /// ZeroMQ shows a message when all of it is there: one without an end is ended by its connection.
    @Test(arguments: [MemberRole?.none, .operator, .worker]) func messagesWithoutEnd(_ role: MemberRole?) throws {
        var options = TransportOptions()
        options.frameByteCount = 8 << 20
        let server = try TestServer(options: options, policy: nil)
        defer { server.close() }
        let peer = try role.map { try welcomed(server, $0) } ?? RawConnection(server.server.endpoint)
        defer { withExtendedLifetime(peer) {} }
        let frame = RawConnection.frame([UInt8](repeating: 1, count: 60_000), more: true)
        var sent = 0
        // As fast as it is taken.
        while sent < 400 << 20, peer.send(frame) { sent += frame.count }
        #expect(sent < 400 << 20)
        wait("its end is counted") {
            let ended = server.server.counters.ended
            return ended[.endless, default: 0] + ended[.flood, default: 0] == 1
        }
        try expectService(server)
    }

    /// Empty frames cost ZeroMQ 32 times what they cost their sender.
    @Test func manyConnectionsThatHoldALittleEach() throws {
        let server = try TestServer()
        defer { server.close() }
        let frame = RawConnection.frame([UInt8](repeating: 1, count: 1 << 20), more: true)
        let peers = try (0..<12).map { _ in try RawConnection(server.server.endpoint) }
        // Those that are let go of are closed, and then there is nothing to end.
        defer { withExtendedLifetime(peers) {} }
        for peer in peers { for _ in 0..<4 { peer.send(frame) } }
        func ended() -> Int { server.server.counters.ended.values.reduce(0, +) }
        wait("some are ended, as strangers have 32 MiB together") { ended() >= 4 }
        // The rest fits.
        usleep(300_000)
        #expect(
            server.server.counters.ended[.crowded, default: 0] > 0 && ended() < 9, "\(server.server.counters.ended)")
        try expectService(server)
    }

    @Test func whoSaysNothing() throws {
        var options = TransportOptions()
        options.strangerPatience = .milliseconds(300)
        let server = try TestServer(options: options, policy: nil)
        defer { server.close() }
        let silent = [
            try RawConnection(server.server.endpoint), try RawConnection(server.server.endpoint, greets: false),
        ]
        let honest = try welcomed(server, .worker)
        // The second one has not begun to shake hands, which ZeroMQ itself waits for.
        wait("they are ended") { silent.allSatisfy(\.isEnded) }
        // Whoever is ended sees it before the server's thread has counted it.
        wait("they are counted") { server.server.counters.ended[.silent, default: 0] >= 2 }
        #expect(server.server.counters.ended[.silent, default: 0] == 2)
        #expect(!honest.isEnded)
    }

    /// Fragments that come byte by byte give way to others, and are given up.
    @Test func messagesThatTrickle() throws {
        var options = TransportOptions()
        options.unfinishedByteCapacity = 5 << 20
        options.unfinishedDeadline = .milliseconds(1200)
        options.memory = TensorPool()
        let server = try TestServer(options: options, policy: nil)
        defer { server.close() }
        let peers = try (0..<2).map { _ in
            let peer = RawPeer(server.server.endpoint)
            peer.send(try Frames(.hello(Samples.hello)).frames)
            _ = try #require(try peer.receiveMessage())
            return peer
        }
        let frames = HostileFrames()
        peers[0].send(frames.announcement(byteCount: 4 << 20))
        var offset: UInt64 = 0
        wait("it is given up though a byte comes again and again") {
            peers[0].send(frames.fragment(offset: offset, [1]))
            offset += 1
            usleep(20_000)
            return server.server.counters.unfinished == 1
        }
        // One that is slow gives way at once when another needs the room.
        while peers[0].receive(waiting: false) != nil {}
        peers[0].send(frames.announcement(byteCount: 4 << 20))
        usleep(400_000)
        peers[1].send(frames.announcement(byteCount: 4 << 20))
        wait("the slow one has given way") { server.server.counters.unfinished >= 2 }
        #expect(peers[1].receive(waiting: false) == nil)
    }

    @Test func readersTakeNoRoomOfMembers() throws {
        var options = TransportOptions()
        options.unfinishedByteRate = 0  // on a busy machine the first would give way as a slow one
        options.memory = TensorPool()
        let server = try TestServer(options: options, policy: nil)
        defer { server.close() }
        let frames = HostileFrames()
        func reader() throws -> RawPeer {
            let peer = RawPeer(server.server.endpoint)
            peer.send(try Frames(.hello(Hello(role: .operator, incarnation: 1))).frames)
            _ = try #require(try peer.receiveMessage())
            return peer
        }
        let readers = try (0..<5).map { _ in try reader() }
        defer { withExtendedLifetime(readers) {} }
        for (index, reader) in readers.enumerated() {
            reader.send(frames.announcement(byteCount: 64 << 20, isQuestion: true))
            if index < 4 { wait("it is taken") { server.server.counters.parts == index + 1 } }
        }
        guard case .refused(let refusal)? = try readers[4].receiveMessage()?.message else {
            throw HarnessError("readers take more than 256 MiB")
        }
        #expect(refusal.code == .tooLarge)
        // Members have theirs.
        let member = RawPeer(server.server.endpoint)
        defer { withExtendedLifetime(member) {} }
        member.send(try Frames(.hello(Samples.hello)).frames)
        _ = try #require(try member.receiveMessage())
        let before = server.server.counters.parts
        member.send(frames.announcement(byteCount: 512 << 20))
        wait("a member announces") { server.server.counters.parts == before + 1 }
    }

    /// An answer that nobody reads goes with its connection.
    @Test func answersThatNobodyReads() throws {
        var options = TransportOptions()
        options.observerPatience = .milliseconds(500)
        let rows = Tensor(zeros: Float.self, shape: [20 << 10, 256])
        let server = try TestServer(options: options, policy: nil) { message in
            if case .readRows = message {
                return .rows(
                    rows: rows, kept: rows, steps: Tensor(zeros: Int64.self, shape: [rows.shape[0], 2]))
            }
            return .acknowledged
        }
        defer { server.close() }
        let peer = try welcomed(server, .operator)
        defer { withExtendedLifetime(peer) {} }
        let question = try Frames(.readRows(ids: Tensor([Int64(1)])), request: 9).frames
        peer.send(RawConnection.frame(question[0], more: true) + RawConnection.frame(question[1]))
        wait("the connection is ended") { server.server.counters.ended[.unread] == 1 }
        try expectService(server)
    }

    // MARK: Questions

    /// One that asks without waiting for the answer has one question answered, and keeps nobody waiting.
    @Test func questionsOneAtATime() throws {
        let gate = Mailbox<Bool>()
        let server = try TestServer(policy: nil) { message in
            if case .operatorRequest = message { _ = gate.next(within: .seconds(20)) }
            return .acknowledged
        }
        defer { server.close() }
        let peer = RawPeer(server.server.endpoint)
        peer.send(try Frames(.hello(Hello(role: .operator, incarnation: 1))).frames)
        _ = try #require(try peer.receiveMessage())
        let question = WireMessage.operatorRequest(OperatorRequest(command: "history"))
        peer.send(try Frames(question, request: 3).frames)
        // Under the same number it is the same question: nothing but the answer answers it.
        for _ in 0..<100 { peer.send(try Frames(question, request: 3).frames) }
        wait("repetitions are ignored") { server.server.counters.ignored == 100 }
        #expect(server.server.counters.rejected[.busy] == nil)
        for request in 100..<600 { peer.send(try Frames(question, request: UInt64(request)).frames) }
        wait("others are refused, and from some on ignored") {
            let counters = server.server.counters
            return counters.rejected[.busy] == 156 && counters.ignored == 444
        }
        gate.post(true)
        var answers = 0
        while answers == 0 {
            let (request, message) = try #require(try peer.receiveMessage())
            guard case .acknowledged = message else { continue }
            #expect(request == 3)
            answers += 1
        }
        // The next one is answered.
        gate.post(true)
        peer.send(try Frames(question, request: 4).frames)
        while true {
            let (request, message) = try #require(try peer.receiveMessage())
            if request == 4, case .acknowledged = message { break }
        }
    }

    /// What members say goes first.
    @Test func questionsWaitForMembers() throws {
        let mailbox = Mailbox<ServerEvent>()
        let server = try ServerEndpoint(bind: "tcp://127.0.0.1:*", events: mailbox.sink { $0 })
        defer { server.close() }
        func join(_ role: MemberRole) throws -> RawPeer {
            let peer = RawPeer(server.endpoint)
            peer.send(try Frames(.hello(Hello(role: role, incarnation: 1))).frames)
            guard case .received(let id, let request, .hello) = mailbox.next(within: .seconds(20)) else {
                throw HarnessError("no hello")
            }
            server.welcome(id, request: request, Welcome(clusterID: "test", member: MemberID(role, 1)))
            _ = try #require(try peer.receiveMessage())
            return peer
        }
        let readers = try (0..<3).map { _ in try join(.operator) }
        let member = try join(.worker)
        defer { withExtendedLifetime((readers, member)) {} }
        for reader in readers { reader.send(try Frames(.readClasses, request: 1).frames) }
        wait("the questions are there") { mailbox.count == 3 }
        for request in 2..<5 { member.send(try Frames(.readClasses, request: UInt64(request)).frames) }
        wait("so is what the member says") { mailbox.count == 6 }
        var order: [UInt64] = []
        while order.count < 6, case .received(_, let request, _)? = mailbox.next(within: .seconds(20)) {
            order.append(request)
        }
        #expect(order == [2, 3, 4, 1, 1, 1])
    }

    @Test func whoIsGoneNeedsNoAnswer() throws {
        let mailbox = Mailbox<ServerEvent>()
        let server = try ServerEndpoint(bind: "tcp://127.0.0.1:*", events: mailbox.sink { $0 })
        defer { server.close() }
        let peer = try RawConnection(server.endpoint)
        peer.send(try hello(.operator))
        guard case .received(let id, _, .hello) = mailbox.next(within: .seconds(20)) else {
            throw HarnessError("no hello")
        }
        #expect(server.isConnected(id))
        peer.end()
        wait("the server knows") { !server.isConnected(id) }
    }

    // MARK: Descriptors

    /// Connections beyond what a server may have are ended, those of strangers first.
    @Test func tooManyConnections() throws {
        var options = TransportOptions()
        options.connectionCapacity = 8
        let server = try TestServer(options: options, policy: nil)
        defer { server.close() }
        let member = try welcomed(server, .worker)
        let strangers = try (0..<30).map { _ in try RawConnection(server.server.endpoint, greets: false) }
        wait("some are ended") { strangers.count(where: \.isEnded) >= 22 }
        #expect(!member.isEnded)
        #expect(server.server.counters.ended[.descriptors, default: 0] >= 22)
        try expectService(server)
    }
}

/// Messages in fragments, by hand.
struct HostileFrames {
    func announcement(byteCount: Int, isQuestion: Bool = false) -> [[UInt8]] {
        let tensor = Proto().number(1, isQuestion ? 3 : 4).bytes(
            2, Proto.varint(UInt64(isQuestion ? byteCount / 8 : byteCount))
        ).number(3, 1)
        let header = Proto().number(1, 5).message(2, tensor).number(3, 9)
        if isQuestion { return [header.message(42, Proto()).bytes, []] }
        let id = Proto().number(1, 8).number(2, 1)
        let body = Proto().message(2, id).number(3, 1).number(4, 2).number(6, 1).signed(7, 7).number(8, 1).float(9, 0.1)
            .message(10, Proto().number(2, 2))
        return [header.message(32, body).bytes, []]
    }

    func fragment(offset: UInt64, _ bytes: [UInt8]) -> [[UInt8]] {
        [
            Proto().tensor(4, [UInt64(bytes.count)]).message(48, Proto().number(1, 9).number(2, offset)).bytes,
            bytes,
        ]
    }
}
