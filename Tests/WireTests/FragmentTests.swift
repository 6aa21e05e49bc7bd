import CZeroMQ
import Cluster
import Determinism
import StepProtocol
import Tensors
import TestSupport
import Testing
import Wire

#if canImport(Glibc)
    import Glibc
#endif

/// Large messages, which travel in fragments.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20)), .serialized) struct FragmentTests {
    private let zeros = { [UInt8](repeating: 0, count: $0) }
    private let id = Proto().number(1, 8).number(2, 1)

    /// A step_request with these tensors, in fragments: 8 bytes each.
    private func announcement(request: UInt64 = 5, series: UInt64, shapes: [[UInt64]]) -> [[UInt8]] {
        let body = Proto().message(2, id).number(3, 1).number(4, 2).number(6, 1).signed(7, 7).number(8, 1).float(9, 0.1)
            .message(10, Proto().number(2, 2))
        let tensors = shapes.reduce(Proto().number(1, request)) {
            $0.message(2, Proto().number(1, 1).bytes(2, $1.flatMap(Proto.varint)).number(3, 1))
        }
        return [tensors.number(3, series).message(32, body).bytes] + shapes.map { _ in [] }
    }

    private func fragment(series: UInt64, offset: UInt64, _ bytes: [UInt8]) -> [[UInt8]] {
        [
            Proto().tensor(4, [UInt64(bytes.count)]).message(48, Proto().number(1, series).number(2, offset)).bytes,
            bytes,
        ]
    }

    /// A server that echoes payloads, a peer that it welcomed, and the memory that it receives into.
    private func welcomed(
        _ change: (inout TransportOptions) -> Void = { _ in }
    ) throws -> (server: TestServer, peer: RawPeer, memory: TensorPool) {
        var options = TransportOptions()
        options.memory = TensorPool()
        change(&options)
        let server = try TestServer(options: options, policy: nil) { message in
            guard case .stepRequest(let request, _) = message else { return .acknowledged }
            return .stepReply(StepReply(id: request.id, rank: 1, phase: .dense, outcome: .done(request.payload)))
        }
        let peer = RawPeer(server.server.endpoint)
        peer.send(try Frames(.hello(Samples.hello)).frames)
        guard case .welcome? = try peer.receiveMessage()?.message else { throw WireError(.overdue, "no welcome") }
        return (server, peer, options.memory)
    }

    /// A client that was welcomed, and what comes to it.
    private func client(
        of server: TestServer, _ options: TransportOptions
    ) throws -> (client: ClientConnection, mailbox: Mailbox<ClientEvent>) {
        let mailbox = Mailbox<ClientEvent>()
        let client = try ClientConnection(
            connect: server.server.endpoint, hello: Hello(role: .worker, incarnation: 1), options: options,
            events: mailbox.sink { $0 })
        guard case .welcomed = mailbox.next(within: .seconds(20)) else { throw WireError(.overdue, "no welcome") }
        return (client, mailbox)
    }

    /// The server answers this peer as it should.
    private func expectService(_ peer: RawPeer) throws {
        peer.send(announcement(request: 77, series: 99, shapes: [[2], [1]]))
        peer.send(fragment(series: 99, offset: 0, zeros(16)))
        peer.send(fragment(series: 99, offset: 16, [1, 2, 3]))
        peer.send(fragment(series: 99, offset: 19, [4, 5, 6, 7, 8]))
        var answer = try #require(try peer.receiveMessage())
        // Answers to what was sent before may still be on their way.
        while answer.request != 77 { answer = try #require(try peer.receiveMessage()) }
        #expect(answer.request == 77)
        #expect(tensors(answer.message).map(contents) == [zeros(16), [1, 2, 3, 4, 5, 6, 7, 8]])
    }

    /// What is sent is refused: these requests with these codes, in order.
    private func expectRefusals(
        _ sent: [[[UInt8]]], _ expected: [(UInt64, RefusalCode)],
        change: (inout TransportOptions) -> Void = { _ in }, _ place: SourceLocation = #_sourceLocation
    ) throws {
        let (server, peer, memory) = try welcomed(change)
        defer { server.close() }
        for message in sent { peer.send(message) }
        for (request, code) in expected {
            let answer = try #require(try peer.receiveMessage(), sourceLocation: place)
            guard case .refused(let refusal) = answer.message else {
                Issue.record("not refused: \(answer.message.name)", sourceLocation: place)
                return
            }
            #expect(answer.request == request && refusal.code == code, "\(refusal)", sourceLocation: place)
        }
        try expectService(peer)
        #expect(server.server.counters.rejectedTotal == expected.count, sourceLocation: place)
        expectNothingLent(memory, place)
    }

    /// All comes back to the pool, as soon as the socket's thread has let go of it.
    private func expectNothingLent(_ memory: TensorPool, _ place: SourceLocation = #_sourceLocation) {
        let deadline = ContinuousClock.now + .seconds(10)
        while memory.lentByteCount > 0, .now < deadline { usleep(1000) }
        #expect(memory.lentByteCount == 0, sourceLocation: place)
    }

    @Test func messagesOfAllSizesComeBack() throws {
        let (server, _, memory) = try welcomed()
        defer { server.close() }
        var options = TransportOptions()
        options.memory = memory
        let (client, mailbox) = try self.client(of: server, options)
        defer { client.close() }
        let fragment = WireLimits.fragmentByteCount
        let random = Tensor(uninitialized: UInt8.self, shape: [5 * fragment])
        withExtendedLifetime(random) {
            var generator = KeyedRandom(seed: 3, purpose: .test)
            for index in 0..<random.count {
                random.mutable(UInt8.self)[index] = UInt8(truncatingIfNeeded: generator.next())
            }
        }
        func tensor(_ count: Int) -> Tensor { random.rows(7..<7 + count) }
        var announced = 0
        for sizes in [
            [fragment], [fragment + 1], [2 * fragment], [2 * fragment + 1], [3, fragment + 7, 0, 2 * fragment, 9],
            [fragment - 1, fragment, fragment + 1], [4 * fragment, 4 * fragment + 5],
        ] {
            let sent = sizes.map(tensor)
            client.send(Samples.request(sent))
            // A message behind a large one comes behind it.
            client.send(.readSliceHashes)
            guard case .received(_, let first) = mailbox.next(within: .seconds(20)),
                case .received(_, .acknowledged) = mailbox.next(within: .seconds(20))
            else { throw WireError(.overdue, "no answers") }
            let back = tensors(first)
            #expect(back.map(\.shape) == sent.map(\.shape))
            #expect(zip(back, sent).allSatisfy { contents($0) == contents($1) })
            for tensor in back where tensor.byteCount > fragment {
                #expect(UInt(bitPattern: tensor.rawPointer) % 64 == 0)
                announced += tensor.byteCount
            }
        }
        #expect(announced > 0)
        #expect(client.counters.parts > announced / fragment)
        #expect(client.counters.parts == server.server.counters.parts)
        #expect(client.counters.rejectedTotal == 0 && server.server.counters.rejectedTotal == 0)
    }

    @Test func aReplyCanBeReadWhileItComesIn() throws {
        let (server, _, _) = try welcomed()
        defer { server.close() }
        let fragment = WireLimits.fragmentByteCount
        var options = TransportOptions()
        options.arrivalByteCount = 2 * fragment
        let (client, mailbox) = try self.client(of: server, options)
        defer { client.close() }
        let bytes = (0..<7 * fragment + 5).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
        let sent = [Tensor([1, 2, 3] as [UInt8]), Tensor(Array(bytes[..<(2 * fragment + 3)])), Tensor(bytes)]
        client.send(Samples.request(sent))
        var told: [[Int]] = []
        var arriving: [Tensor] = []
        var whole: [Tensor]?
        while whole == nil, let event = mailbox.next(within: .seconds(20)) {
            switch event {
            case .arriving(let reply):
                #expect(reply.payload.map(\.shape) == sent.map(\.shape))
                for (index, tensor) in reply.payload.enumerated() {
                    let count = reply.available[index]
                    #expect(Array(contents(tensor)[..<count]) == Array(contents(sent[index])[..<count]))
                }
                told.append(reply.available)
                arriving = reply.payload
            case .received(_, let message): whole = tensors(message)
            default: Issue.record("\(event)")
            }
        }
        // Whenever two more fragments are there; the last bytes come with the whole.
        let second = 2 * fragment + 3
        #expect(
            told == [
                [3, 2 * fragment, 0], [3, second, 2 * fragment], [3, second, 4 * fragment], [3, second, 6 * fragment],
            ])
        #expect(zip(arriving, whole ?? []).allSatisfy { $0.storage === $1.storage })
        #expect(whole.map { $0.map(contents) } == sent.map(contents))
    }

    @Test func memoryIsUsedAgain() throws {
        let (server, _, _) = try welcomed()
        defer { server.close() }
        var options = TransportOptions()
        options.memory = TensorPool(idleByteCapacity: 8 << 20)
        let (client, mailbox) = try self.client(of: server, options)
        defer { client.close() }
        func echo(_ count: Int) throws -> Tensor {
            client.send(Samples.request([Tensor(zeros: UInt8.self, shape: [count])]))
            guard case .received(_, let message) = mailbox.next(within: .seconds(20)) else {
                throw WireError(.overdue, "no answer")
            }
            return try #require(tensors(message).first)
        }
        var addresses: Set<UnsafeMutableRawPointer> = []
        for count in [3 << 20, 3 << 20 + 100, 3 << 20 - 100] { addresses.insert(try echo(count).rawPointer) }
        #expect(addresses.count == 1)
        // What is held is not used again, what is too much is not kept.
        do {
            let held = try echo(3 << 20)
            defer { withExtendedLifetime(held) {} }
            #expect(try echo(3 << 20).rawPointer != held.rawPointer)
            #expect(try echo(20 << 20).byteCount == 20 << 20)
        }
        expectNothingLent(options.memory)
        #expect((1...8 << 20).contains(options.memory.idleByteCount))
    }

    @Test func fragmentsThatAreNotTheNextOnes() throws {
        let begin = announcement(series: 9, shapes: [[1], [2]])
        let first = fragment(series: 9, offset: 0, zeros(4))
        let second = fragment(series: 9, offset: 4, zeros(4))
        // Nothing was announced.
        try expectRefusals([first], [(0, .malformed)])
        // Left out, repeated, of another series; what comes after that belongs to nothing.
        try expectRefusals([begin, second, first], [(5, .malformed), (0, .malformed)])
        try expectRefusals([begin, first, first, second], [(5, .malformed), (0, .malformed)])
        try expectRefusals([begin, fragment(series: 8, offset: 0, zeros(4))], [(5, .malformed)])
        // Over the end of a tensor, and of the last one.
        try expectRefusals([begin, fragment(series: 9, offset: 0, zeros(12))], [(5, .malformed)])
        try expectRefusals(
            [begin, first, second, fragment(series: 9, offset: 8, zeros(17))], [(5, .malformed)])
        // An offset that no number of ours can hold.
        try expectRefusals(
            [begin, fragment(series: 9, offset: .max, zeros(8)), second], [(0, .malformed), (5, .malformed)])
    }

    @Test func fragmentsThatAreNone() throws {
        let header = Proto().message(48, Proto().number(1, 9))
        try expectRefusals(
            [
                fragment(series: 9, offset: 0, []), [header.bytes], [header.tensor(4, [2]).bytes],
                [header.tensor(4, [3]).bytes, [1, 2]], [header.tensor(1, [1]).bytes, zeros(8)],
                [header.tensor(4, [1, 2]).bytes, [1, 2]], [header.tensor(4, [1]).tensor(4, [1]).bytes, [1], [2]],
                [header.message(2, Proto().number(1, 4).bytes(2, [2]).number(3, 1)).bytes, []],
                fragment(series: 9, offset: 0, zeros(WireLimits.longestFragment + 1)),
            ],
            [
                (0, .tooLarge), (0, .malformed), (0, .malformed), (0, .malformed), (0, .malformed), (0, .malformed),
                (0, .malformed), (0, .malformed), (0, .tooLarge),
            ])
    }

    @Test func anotherMessageInBetween() throws {
        let begin = announcement(series: 9, shapes: [[2]])
        let half = fragment(series: 9, offset: 0, zeros(8))
        let (server, peer, _) = try welcomed()
        defer { server.close() }
        for message in [begin, half, try Frames(.readSliceHashes, request: 6).frames, half] { peer.send(message) }
        let answers = try (0..<3).map { _ in try #require(try peer.receiveMessage()) }
        // The refusals are the transport's, the other answer comes when the owner gives it.
        #expect(answers.map(\.request).sorted() == [0, 5, 6])
        try expectService(peer)
        #expect(server.server.counters.rejected == [.malformed: 2])
        // Announced again before it was finished.
        try expectRefusals(
            [begin, half, announcement(request: 8, series: 10, shapes: [[2]]), half],
            [(5, .malformed), (8, .malformed)])
    }

    @Test func announcementsThatAreNone() throws {
        let limit: (inout TransportOptions) -> Void = { $0.messageByteCount = 10 << 20 }
        try expectRefusals(
            [
                announcement(series: 1, shapes: [[2 << 20]]), announcement(series: 2, shapes: [[1 << 44]]),
                announcement(series: 3, shapes: [[1 << 20], [1 << 20]]),
            ], [(5, .tooLarge), (5, .tooLarge), (5, .tooLarge)], change: limit)
        // Not numbered; nothing to come; elements that came already; a number without fragments; no such message.
        var withElements = announcement(series: 4, shapes: [[1]])
        withElements[1] = zeros(8)
        let hello = Proto().number(1, 5).message(2, Proto().number(1, 1).bytes(2, [1]).number(3, 1)).number(3, 7)
        try expectRefusals(
            [
                announcement(series: 0, shapes: [[1]]), announcement(series: 4, shapes: [[0]]), withElements,
                announcement(series: 4, shapes: []), [hello.message(44, Proto()).bytes, []],
                [hello.message(19, Proto()).bytes, []],
            ], [(5, .malformed), (5, .malformed), (5, .malformed), (5, .malformed), (5, .malformed), (5, .malformed)])
    }

    @Test func whatAllPeersTogetherHaveNotFinishedIsBounded() throws {
        let (server, peer, memory) = try welcomed { $0.unfinishedByteCapacity = 5 << 20 }
        defer { server.close() }
        let other = RawPeer(server.server.endpoint)
        defer { withExtendedLifetime(other) {} }
        other.send(try Frames(.hello(Samples.hello)).frames)
        _ = try other.receiveMessage()
        other.send(announcement(series: 1, shapes: [[1 << 19]]))
        let deadline = ContinuousClock.now + .seconds(10)
        while server.server.counters.parts < 1, .now < deadline { usleep(1000) }
        peer.send(announcement(series: 1, shapes: [[1 << 19]]))
        guard case .refused(let refusal)? = try peer.receiveMessage()?.message else {
            throw WireError(.overdue, "not refused")
        }
        #expect(refusal.code == .tooLarge)
        try expectService(peer)
        #expect(memory.lentByteCount >= 4 << 20)
    }

    @Test func strangersAnnounceNothing() throws {
        let (server, _, memory) = try welcomed()
        defer { server.close() }
        let stranger = RawPeer(server.server.endpoint)
        for message in [announcement(series: 9, shapes: [[1 << 20]]), fragment(series: 9, offset: 0, zeros(8))] {
            stranger.send(message)
            guard case .refused(let refusal)? = try stranger.receiveMessage()?.message else {
                throw WireError(.overdue, "not refused")
            }
            #expect(refusal.code == .notWelcomed)
        }
        #expect(memory.lentByteCount == 0 && memory.idleByteCount == 0)
    }

    @Test func aPeerThatGoesAwayInTheMiddle() throws {
        var options = TransportOptions()
        options.unfinishedDeadline = .milliseconds(50)
        options.memory = TensorPool()
        let server = try TestServer(options: options, policy: nil)
        defer { server.close() }
        var peer: RawPeer? = RawPeer(server.server.endpoint)
        peer?.send(try Frames(.hello(Samples.hello)).frames)
        _ = try peer?.receiveMessage()
        peer?.send(announcement(series: 9, shapes: [[1 << 20]]))
        peer?.send(fragment(series: 9, offset: 0, zeros(1 << 20)))
        let deadline = ContinuousClock.now + .seconds(20)
        while server.server.counters.parts == 0, .now < deadline { usleep(1000) }
        peer = nil
        while server.server.counters.unfinished == 0, .now < deadline { usleep(1000) }
        #expect(server.server.counters.unfinished == 1)
        expectNothingLent(options.memory)
        let client = try OperatorClient(connect: server.server.endpoint)
        defer { client.close() }
        guard case .acknowledged = try client.request(.readSliceHashes) else { throw WireError(.field, "no answer") }
    }

    /// While its mailbox is full a server does not read: that is no silence of its peers.
    @Test func aServerThatIsBusyWaitsForTheRest() throws {
        var options = TransportOptions()
        options.unfinishedDeadline = .milliseconds(1500)
        options.unfinishedByteRate = 0  // how fast it comes is not what this is about
        let mailbox = Mailbox<ServerEvent>(capacity: 1)
        let server = try ServerEndpoint(bind: "tcp://127.0.0.1:*", options: options, events: mailbox.sink { $0 })
        defer { server.close() }
        let peers = [RawPeer(server.endpoint), RawPeer(server.endpoint)]
        // One that is let go of is closed, and what it has sent last is lost.
        defer { withExtendedLifetime(peers) {} }
        func next() throws -> (PeerID, UInt64, WireMessage) {
            guard case .received(let peer, let request, let message) = mailbox.next(within: .seconds(20)) else {
                throw WireError(.overdue, "no message")
            }
            return (peer, request, message)
        }
        peers[0].send(try Frames(.hello(Samples.hello)).frames)
        let (peer, request, _) = try next()
        server.welcome(peer, request: request, Samples.welcome)
        // The machine may be so slow that the message is given up before the server is busy: then once more.
        for attempt in 0..<20 {
            let (before, deadline) = (server.counters, ContinuousClock.now + .seconds(20))
            peers[0].send(announcement(series: 9, shapes: [[2]]))
            peers[0].send(fragment(series: 9, offset: 0, zeros(8)))
            while server.counters.parts < before.parts + 2, .now < deadline { usleep(1000) }
            peers[1].send(try Frames(.hello(Samples.hello), request: UInt64(attempt + 1)).frames)
            while mailbox.count < 1, .now < deadline { usleep(1000) }
            // Nothing is given up from now on.
            guard server.counters.unfinished == before.unfinished else {
                let (peer, request, _) = try next()
                server.welcome(peer, request: request, Samples.welcome)
                continue
            }
            peers[0].send(fragment(series: 9, offset: 8, zeros(8)))
            usleep(3_300_000)
            _ = try next()
            guard case (peer, 5, .stepRequest(let step, _)) = try next() else {
                throw WireError(.field, "not the request")
            }
            #expect(step.payload.map(contents) == [zeros(16)])
            #expect(server.counters.unfinished == before.unfinished && server.counters.rejectedTotal == 0)
            return
        }
        Issue.record("the message was always given up before the server was busy")
    }

    /// Random announcements and fragments: whatever they are, the server goes on and its memory is bounded.
    @Test func randomSeries() throws {
        let seed = getenv("FUZZ_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0..<1 << 32)
        print("random series: FUZZ_SEED=\(seed)")
        var random = KeyedRandom(seed: seed, purpose: .test)
        func below(_ bound: UInt64) -> UInt64 { random.below(bound) }
        let (server, peer, memory) = try welcomed()
        defer { server.close() }
        var offset: UInt64 = 0
        for number in 0..<20_000 {
            switch below(8) {
            case 0:
                let shapes = (0..<below(4)).map { _ in [below(8) == 0 ? 1 << 18 : below(20)] }
                peer.send(announcement(series: below(3), shapes: shapes))
                offset = 0
            case 1: peer.send(try Frames(.readSliceHashes).frames)
            default:
                let bytes = zeros(Int(below(8) == 0 ? below(100) : 8 * below(3)))
                peer.send(
                    fragment(series: below(8) == 0 ? below(3) : 1, offset: below(8) == 0 ? below(9) : offset, bytes))
                offset += UInt64(bytes.count)
            }
            if number % 64 == 0 { while peer.receive(waiting: false) != nil {} }
        }
        peer.send(try Frames(.readSliceHashes, request: 4242).frames)
        while try #require(try peer.receiveMessage()).request != 4242 {}
        try expectService(peer)
        let counters = server.server.counters
        print("random series: \(counters.parts) parts, \(counters.received) delivered, rejected: \(counters.rejected)")
        #expect(counters.parts > 1000 && counters.rejected[.malformed, default: 0] > 1000)
        expectNothingLent(memory)
    }
}
