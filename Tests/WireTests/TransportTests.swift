import Cluster
import NetworkAddress
import StepProtocol
import Tensors
import TestSupport
import Testing
import Wire

#if canImport(Glibc)
    import Glibc
#endif

@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20)), .serialized) struct TransportTests {
    private func worker() -> Hello { Hello(role: .worker, incarnation: 1) }

    /// The next event of a kind, throwing away others.
    private func next<T>(_ mailbox: Mailbox<ClientEvent>, _ pick: (ClientEvent) -> T?) throws -> T {
        let deadline = ContinuousClock.now + .seconds(20)
        while let event = mailbox.next(until: deadline) {
            if let picked = pick(event) { return picked }
        }
        throw WireError(.overdue, "the expected event did not come")
    }

    private func welcomed(_ event: ClientEvent) -> Welcome? {
        if case .welcomed(let welcome) = event { welcome } else { nil }
    }

    private func received(_ event: ClientEvent) -> WireMessage? {
        if case .received(_, let message) = event { message } else { nil }
    }

    @Test func bigTensorsComeBackUnchanged() throws {
        let server = try TestServer { message in
            guard case .stepRequest(let request, _) = message else { return nil }
            return .stepReply(StepReply(id: request.id, rank: 1, phase: .dense, outcome: .done(request.payload)))
        }
        defer { server.close() }
        let mailbox = Mailbox<ClientEvent>()
        let client = try ClientConnection(
            connect: server.server.endpoint, hello: worker(), events: mailbox.sink { $0 })
        defer { client.close() }
        _ = try next(mailbox, welcomed)
        let count = 16 << 20
        let tensor = Tensor(uninitialized: Float.self, shape: [count / 512, 512])
        withExtendedLifetime(tensor) {
            let elements = tensor.mutable(Float.self)
            for index in 0..<count { elements[index] = Float(index) }
        }
        let start = ContinuousClock.now
        for _ in 0..<4 {
            guard case .queued = client.send(Samples.request([tensor, Tensor([Int64(1)])])) else {
                throw WireError(.field, "not queued")
            }
            let reply = tensors(try next(mailbox, received))
            #expect(reply.map(\.shape) == [[count / 512, 512], [1]])
            let same = withExtendedLifetime((reply, tensor)) {
                reply[0].buffer(Float.self).elementsEqual(tensor.buffer(Float.self))
            }
            #expect(same)
        }
        print("64 MB there and back, with comparison: \((ContinuousClock.now - start) / 4)")
        // The storage is given back once it is sent.
        let deadline = ContinuousClock.now + .seconds(10)
        while client.waitingByteCount > 0 && .now < deadline { _ = mailbox.next(within: .milliseconds(5)) }
        #expect(client.waitingByteCount == 0)
        #expect(server.server.counters.rejectedTotal == 0)
    }

    @Test func aClientGreetsAgainAfterTheServerWasRestarted() throws {
        var server = try TestServer()
        let endpoint = server.server.endpoint
        let mailbox = Mailbox<ClientEvent>()
        var options = TransportOptions()
        options.helloInterval = .milliseconds(100)
        let client = try ClientConnection(
            connect: endpoint, hello: worker(), options: options, events: mailbox.sink { $0 })
        defer { client.close() }
        _ = try next(mailbox, welcomed)
        for _ in 0..<3 {
            server.close()
            server = try TestServer(bind: endpoint)
            client.send(.readSliceHashes)
            _ = try next(mailbox, welcomed)
            client.send(.readSliceHashes)
            guard case .acknowledged = try next(mailbox, received) else { throw WireError(.field, "no answer") }
            #expect(server.server.counters.rejected == [.notWelcomed: 1])
        }
        server.close()
    }

    @Test func aServerThatIsNotThereIsReported() throws {
        let server = try TestServer()
        let endpoint = server.server.endpoint
        server.close()
        let mailbox = Mailbox<ClientEvent>()
        var options = TransportOptions()
        options.helloDeadline = .milliseconds(50)
        let client = try ClientConnection(
            connect: endpoint, hello: worker(), options: options, events: mailbox.sink { $0 })
        defer { client.close() }
        let reported = try next(mailbox) { if case .unanswered(let endpoint) = $0 { endpoint } else { nil } }
        #expect(reported == endpoint)
        #expect(client.send(.readSliceHashes) == .notWelcomed)
        #expect(throws: WireError.self) {
            try OperatorClient(connect: endpoint, deadline: .milliseconds(50))
        }
        // It comes later.
        let late = try TestServer(bind: endpoint)
        defer { late.close() }
        _ = try next(mailbox, welcomed)
    }

    /// A client with two servers goes from one that stands by, and from one that is silent, to the other.
    @Test func theServerThatServesIsFound() throws {
        let standby = TestStandby()
        defer { standby.close() }
        let mailbox = Mailbox<ClientEvent>()
        var options = TransportOptions()
        options.serverPatience = .milliseconds(300)
        options.standbyPause = .milliseconds(10)
        let server = try TestServer()
        let client = try ClientConnection(
            connect: "\(standby.server.endpoint),\(server.server.endpoint)", hello: worker(), options: options,
            events: mailbox.sink { $0 })
        defer { client.close() }
        let said = try next(mailbox) { if case .standingBy(_, let standing) = $0 { standing.message } else { nil } }
        #expect(said == "for another one")
        _ = try next(mailbox, welcomed)
        #expect(client.endpoint == server.server.endpoint)
        // It dies, and the other one serves. Without a word for a lease it is looked for elsewhere.
        standby.serves()
        server.close()
        let silent = try next(mailbox) { if case .silent(let endpoint) = $0 { endpoint } else { nil } }
        #expect(silent == server.server.endpoint)
        _ = try next(mailbox, welcomed)
        #expect(client.endpoint == standby.server.endpoint)
    }

    @Test func connectionsShareAThread() throws {
        let servers = try (0..<4).map { _ in try TestServer() }
        defer { for server in servers { server.close() } }
        let mailbox = Mailbox<(Int, ClientEvent)>()
        let thread = try IOThread()
        let clients = try servers.enumerated().map { index, server in
            try ClientConnection(
                connect: server.server.endpoint, hello: worker(), thread: thread, events: mailbox.sink { (index, $0) })
        }
        var greeted: Set<Int> = []
        var answered: Set<Int> = []
        let deadline = ContinuousClock.now + .seconds(20)
        while answered.count < 4, let (index, event) = mailbox.next(until: deadline) {
            switch event {
            case .welcomed:
                greeted.insert(index)
                clients[index].send(.readSliceHashes)
            case .received(_, .acknowledged): answered.insert(index)
            default: break
            }
        }
        #expect(greeted == [0, 1, 2, 3] && answered == [0, 1, 2, 3])
        clients[0].close()
        #expect(clients[0].send(.readSliceHashes) == .closed)
        guard case .queued = clients[1].send(.readSliceHashes) else { throw WireError(.closed, "the others go on") }
        thread.close()
        thread.close()
        for client in clients { client.close() }
        #expect(throws: WireError.self) {
            try ClientConnection(
                connect: clients[0].endpoint, hello: worker(), thread: thread, events: mailbox.sink { (0, $0) })
        }
    }

    @Test func whatWaitsForAPeerIsBounded() throws {
        var options = TransportOptions()
        options.sendByteCapacity = 8 << 20
        let mailbox = Mailbox<ServerEvent>()
        let server = try ServerEndpoint(bind: "tcp://127.0.0.1:*", options: options, events: mailbox.sink { $0 })
        defer { server.close() }
        // A peer that says hello and then reads nothing.
        let peer = RawPeer(server.endpoint)
        defer { withExtendedLifetime(peer) {} }
        peer.send(try Frames(.hello(worker())).frames)
        guard case .received(let id, let request, .hello) = mailbox.next(within: .seconds(20)) else {
            throw WireError(.overdue, "no hello")
        }
        #expect(server.send(.acknowledged, to: id) == .notWelcomed)
        server.welcome(id, request: request, Welcome(clusterID: "test", member: MemberID(.worker, 1)))
        let payload = Tensor(zeros: Float.self, shape: [256 << 10])
        var sent = 0
        var last = SendResult.queued(request: 0)
        // What the kernel and the peer's queue take is not ours: far more than that is offered.
        while sent < 20_000 {
            last = server.send(Samples.reply(.done([payload])), to: id)
            guard case .queued = last else { break }
            sent += 1
        }
        #expect(last == .full)
        #expect(server.waitingByteCount(for: id) <= options.sendByteCapacity)
        guard case .dropped(let dropped) = mailbox.next(within: .seconds(20)) else {
            throw WireError(.overdue, "the peer was not dropped")
        }
        #expect(dropped == id)
        #expect(server.counters.overfull == 1)
        #expect(server.send(.acknowledged, to: id) == .notWelcomed)
    }

    @Test func aFullMailboxStopsTheSocketAndGoesOn() throws {
        let mailbox = Mailbox<ServerEvent>(capacity: 4)
        let server = try ServerEndpoint(bind: "tcp://127.0.0.1:*", events: mailbox.sink { $0 })
        defer { server.close() }
        let peer = RawPeer(server.endpoint)
        defer { withExtendedLifetime(peer) {} }
        peer.send(try Frames(.hello(worker())).frames)
        guard case .received(let id, let request, .hello) = mailbox.next(within: .seconds(20)) else {
            throw WireError(.overdue, "no hello")
        }
        server.welcome(id, request: request, Welcome(clusterID: "test", member: MemberID(.worker, 1)))
        for _ in 0..<100 { peer.send(try Frames(.readClasses).frames) }
        let deadline = ContinuousClock.now + .seconds(20)
        while mailbox.count < 4 && .now < deadline { usleep(1000) }
        #expect(mailbox.count == 4)
        var count = 0
        while count < 100, mailbox.next(until: deadline) != nil { count += 1 }
        #expect(count == 100)
        #expect(server.counters.received == 101)
    }

    @Test func strangersThatReadNothingAreNotAnsweredForEver() throws {
        let mailbox = Mailbox<ServerEvent>()
        let server = try ServerEndpoint(bind: "tcp://127.0.0.1:*", events: mailbox.sink { $0 })
        defer { server.close() }
        let peer = RawPeer(server.endpoint)
        defer { withExtendedLifetime(peer) {} }
        let deadline = ContinuousClock.now + .seconds(60)
        var sent = 0
        while server.counters.unanswered == 0, .now < deadline {
            for _ in 0..<1000 { peer.send([[0xff]]) }
            sent += 1000
            while server.counters.rejectedTotal < sent, .now < deadline { _ = mailbox.next(within: .milliseconds(1)) }
        }
        #expect(server.counters.unanswered > 0)
        #expect(server.counters.rejected == [.malformed: sent])
        #expect(mailbox.count == 0)
    }

    @Test func aServerClosesUnderLoad() throws {
        for _ in 0..<3 {
            let server = try TestServer(policy: nil)
            let stop = Mailbox<Bool>()
            let stopped = Mailbox<Bool>()
            let endpoint = server.server.endpoint
            let hello = try Frames(.hello(worker())).frames
            Thread.start {
                let peer = RawPeer(endpoint)
                while !stop.isClosed {
                    for _ in 0..<100 { peer.send(hello) }
                    while peer.receive(waiting: false) != nil {}
                    usleep(500)
                }
                stopped.post(true)
            }
            let deadline = ContinuousClock.now + .seconds(20)
            while server.server.counters.received < 1000, .now < deadline { usleep(1000) }
            server.close()
            server.close()
            #expect(server.server.counters.received >= 1000)
            #expect(server.server.send(.acknowledged, to: PeerID(bytes: [1])) == .closed)
            stop.close()
            #expect(stopped.next(within: .seconds(20)) == true)
        }
    }

    @Test func whatWasTakenIsLetGo() throws {
        let mailbox = Mailbox<Tensor>()
        let released = Mailbox<Int>()
        for number in 0..<4 {
            let memory = TensorStorage(byteCount: 64)
            let storage = TensorStorage(foreign: memory.base, byteCount: 64) {
                _ = memory
                released.post(number)
            }
            mailbox.post(Tensor(dtype: .f32, shape: [16], storage: storage))
        }
        for number in 0..<3 {
            #expect(mailbox.next(within: .seconds(1)) != nil)
            #expect(released.next(within: .seconds(1)) == number)
        }
        #expect(released.count == 0)
        mailbox.close()
        #expect(mailbox.next(within: .seconds(1)) != nil)
        #expect(mailbox.next(within: .seconds(1)) == nil)
        mailbox.post(Tensor([Float(1)]))
        #expect(mailbox.count == 0)
    }

    @Test func commandsWaitForTheirAnswer() throws {
        let server = try TestServer { message in
            guard case .operatorRequest(let request) = message else { return nil }
            return .operatorReply(
                OperatorReply(exitCode: 3, json: String(repeating: request.command, count: 1 << 20)))
        }
        defer { server.close() }
        let client = try OperatorClient(connect: server.server.endpoint)
        defer { client.close() }
        let answer = try client.request(.operatorRequest(OperatorRequest(command: "status")))
        guard case .operatorReply(let reply) = answer else { throw WireError(.field, answer.name) }
        #expect(reply.exitCode == 3 && reply.json.utf8.count == 6 << 20)
        #expect(throws: WireError.self) { try client.request(.readSliceHashes, deadline: .milliseconds(50)) }
    }

    @Test func endpointsThatAreNoneAreRefused() throws {
        let mailbox = Mailbox<ServerEvent>()
        #expect(throws: WireError.self) { try ServerEndpoint(bind: "localhost:80", events: mailbox.sink { $0 }) }
        #expect(throws: WireError.self) { try ServerEndpoint(bind: "tcp://nowhere", events: mailbox.sink { $0 }) }
        let server = try ServerEndpoint(bind: "tcp://127.0.0.1:0", events: mailbox.sink { $0 })
        defer { server.close() }
        #expect(throws: WireError.self) { try ServerEndpoint(bind: server.endpoint, events: mailbox.sink { $0 }) }
        let port = server.endpoint.split(separator: ":").last.map(String.init) ?? ""
        #expect(try server.advertised(as: AdvertisedAddress("shard-1")) == "tcp://shard-1:\(port)")
        #expect(!server.isEverywhere)
        let everywhere = try ServerEndpoint(bind: "tcp://*:0", events: Mailbox<ServerEvent>().sink { $0 })
        defer { everywhere.close() }
        #expect(everywhere.isEverywhere, "\(everywhere.endpoint)")
    }

    @Test func whatIsSentBeforeTheConnectionIsClosedArrives() throws {
        let left = Mailbox<UInt64>()
        let server = try TestServer { message in
            if case .leave(let leave) = message { left.post(leave.incarnation) }
            return .acknowledged
        }
        defer { server.close() }
        let thread = try IOThread()
        defer { thread.close() }
        for round in 1...50 as ClosedRange<UInt64> {
            let mailbox = Mailbox<ClientEvent>()
            let client = try ClientConnection(
                connect: server.server.endpoint, hello: Hello(role: .worker, incarnation: round), thread: thread,
                events: mailbox.sink { $0 })
            guard case .welcomed = mailbox.next(within: .seconds(20)) else { throw WireError(.overdue, "no welcome") }
            client.send(.leave(Leave(member: Samples.worker, incarnation: round)))
            client.close()
            #expect(left.next(within: .seconds(20)) == round)
        }
    }
}
