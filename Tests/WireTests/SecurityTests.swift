import CZeroMQ
import Cluster
import StepProtocol
import Tensors
import TestSupport
import Testing
import Wire

#if canImport(Glibc)
    import Glibc
#endif

/// Servers with keys, and peers that have them, have others, or none.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20)), .serialized) struct SecurityTests {
    private func hello(_ role: MemberRole) -> Hello { Hello(role: role, incarnation: 1) }

    private var quick: TransportOptions {
        var options = TransportOptions()
        options.helloInterval = .milliseconds(100)
        return options
    }

    /// Waits for the first event that says how a connection went.
    private func outcome(
        _ endpoint: String, _ security: ClientSecurity, role: MemberRole = .worker, seconds: Int = 20
    ) throws -> ClientEvent {
        let mailbox = Mailbox<ClientEvent>()
        let client = try ClientConnection(
            connect: endpoint, hello: hello(role), options: quick, security: security, events: mailbox.sink { $0 })
        defer { client.close() }
        let deadline = ContinuousClock.now + .seconds(seconds)
        while let event = mailbox.next(until: deadline) {
            switch event {
            case .welcomed, .refused, .handshakeFailed: return event
            case .unanswered, .silent, .standingBy, .arriving, .received: continue
            }
        }
        throw WireError(.overdue, "nothing came of the connection")
    }

    private func failure(_ endpoint: String, _ security: ClientSecurity) throws -> HandshakeFailure {
        let event = try outcome(endpoint, security)
        guard case .handshakeFailed(let failure) = event else {
            throw WireError(.field, "it was not turned away: \(event)")
        }
        return failure
    }

    private func expectWelcome(_ endpoint: String, _ security: ClientSecurity, role: MemberRole = .worker) throws {
        let event = try outcome(endpoint, security, role: role)
        guard case .welcomed = event else { throw WireError(.field, "not welcomed: \(event)") }
    }

    /// Waits until the server has turned somebody away.
    private func turnedAway(_ server: TestServer) -> [HandshakeFailure.Reason: Int] {
        let deadline = ContinuousClock.now + .seconds(20)
        while server.server.counters.turnedAway.isEmpty, .now < deadline { usleep(1000) }
        return server.server.counters.turnedAway
    }

    @Test func holdersOfAcceptedKeysAreLetIn() throws {
        let keys = try TestKeys()
        let holders = try KeyRole.allCases.filter { $0 != .coordinator }.map { ($0, try keys.accepted($0)) }
        let server = try TestServer(security: keys.encrypted())
        defer { server.close() }
        let bulk = try TestServer(security: keys.shown())
        defer { bulk.close() }
        for (role, holder) in holders {
            let memberRole = try #require(role.memberRole)
            try expectWelcome(server.server.endpoint, keys.client(holder), role: memberRole)
            try expectWelcome(bulk.server.endpoint, TestKeys.shown(holder), role: memberRole)
            // Under another role than its own nobody gets in.
            let other: MemberRole = memberRole == .worker ? .operator : .worker
            guard case .refused(let refusal) = try outcome(server.server.endpoint, keys.client(holder), role: other)
            else {
                throw WireError(.field, "\(role) was let in as \(other)")
            }
            #expect(refusal.code == .forbidden && refusal.message.contains(role.rawValue))
        }
        #expect(server.server.counters.turnedAway.isEmpty && bulk.server.counters.turnedAway.isEmpty)
    }

    @Test func strangersGetNothingAndAreToldOf() throws {
        let keys = try TestKeys()
        let worker = try keys.accepted(.worker)
        let stranger = try keys.holder(.worker, "stranger")
        let elsewhere = try TestKeys()
        let cases: [(String, ClientSecurity, words: [String])] = [
            ("no key", .none, ["--keys"]),
            ("an unknown key", keys.client(stranger), ["does not accept the key \(stranger.own.publicKey)"]),
            ("another server's key", elsewhere.client(worker), [elsewhere.server.publicKey.text]),
            ("nothing encrypted", TestKeys.shown(worker), ["--encrypt"]),
        ]
        for (what, security, words) in cases {
            let server = try TestServer(security: keys.encrypted())
            defer { server.close() }
            let failure = try failure(server.server.endpoint, security)
            for word in words { #expect(failure.message.contains(word), "\(what): \(failure.message)") }
            #expect(!turnedAway(server).isEmpty, "\(what)")
            let event = try #require(server.securityEvents.next(within: .seconds(20)))
            guard case .turnedAway(_, let address, let key, _) = event else {
                throw WireError(.field, "\(what): \(event)")
            }
            #expect(address == "127.0.0.1" || address == nil)
            if what == "an unknown key" {
                #expect(address == "127.0.0.1" && key == stranger.own.publicKey, "\(event)")
                #expect(server.server.counters.turnedAway[.key, default: 0] > 0)
            }
            #expect(server.server.counters.received == 0 && server.server.counters.sent == 0, "\(what)")
            // The others are not harmed.
            try expectWelcome(server.server.endpoint, keys.client(worker))
        }
    }

    @Test func theWrongBulkSecretIsRefused() throws {
        let keys = try TestKeys()
        let (worker, shard) = (try keys.accepted(.worker), try keys.accepted(.shard))
        let server = try TestServer(security: keys.shown())
        defer { server.close() }
        for security in [
            ClientSecurity.shown(worker.own.publicKey, bulkSecret: shard.bulk.secretKey),
            .shown(worker.own.publicKey, bulkSecret: worker.own.secretKey),
            .shown(try keys.holder(.worker).own.publicKey, bulkSecret: worker.bulk.secretKey),
        ] {
            #expect(try failure(server.server.endpoint, security).reason == .key)
        }
        for security in [ClientSecurity.none, keys.client(worker)] {
            #expect(try failure(server.server.endpoint, security).reason != .key)
        }
        #expect(server.server.counters.turnedAway[.key, default: 0] >= 3)
        #expect(server.server.counters.received == 0)
        try expectWelcome(server.server.endpoint, TestKeys.shown(worker))
    }

    @Test func clientsWithKeysDoNotTalkToServersWithout() throws {
        let keys = try TestKeys()
        let worker = try keys.holder(.worker)
        let server = try TestServer()
        defer { server.close() }
        #expect(try failure(server.server.endpoint, keys.client(worker)).message.contains("--encrypt"))
        #expect(try failure(server.server.endpoint, TestKeys.shown(worker)).message.contains("no keys"))
        #expect(server.server.counters.received == 0)
        do {
            _ = try OperatorClient(connect: server.server.endpoint, security: keys.client(worker))
            Issue.record("connected")
        } catch { #expect(error.code == .forbidden) }
    }

    @Test func keysAreAddedAndRevokedWhileTheServerRuns() throws {
        let keys = try TestKeys()
        let worker = try keys.holder(.worker)
        let server = try TestServer(security: keys.encrypted())
        defer { server.close() }
        let mailbox = Mailbox<ClientEvent>()
        let client = try ClientConnection(
            connect: server.server.endpoint, hello: hello(.worker), options: quick, security: keys.client(worker),
            events: mailbox.sink { $0 })
        defer { client.close() }
        func next(_ what: String, _ matches: (ClientEvent) -> Bool) throws {
            let deadline = ContinuousClock.now + .seconds(20)
            while let event = mailbox.next(until: deadline) { if matches(event) { return } }
            throw WireError(.overdue, what)
        }
        try next("turned away") { if case .handshakeFailed(let failure) = $0 { failure.reason == .key } else { false } }
        keys.accept(worker)
        try next("welcomed") { if case .welcomed = $0 { true } else { false } }
        client.send(.readClasses)
        try next("answered") { if case .received(_, .acknowledged) = $0 { true } else { false } }
        let answered = server.server.counters.received
        keys.revoke(worker)
        // What it asks now is not delivered, whatever is said of it.
        let deadline = ContinuousClock.now + .seconds(20)
        while server.server.counters.rejected[.forbidden, default: 0] == 0, .now < deadline {
            client.send(.readClasses)
            usleep(20_000)
        }
        try next("refused") { if case .refused(let refusal) = $0 { refusal.code == .forbidden } else { false } }
        #expect(server.server.counters.turnedAway[.revoked, default: 0] > 0)
        let delivered = server.server.counters.received
        #expect(delivered >= answered)
        for _ in 0..<20 {
            client.greet()
            client.send(.readClasses)
            usleep(20_000)
        }
        #expect(server.server.counters.received == delivered)
    }

    @Test func aListThatCannotBeReadChangesNothing() throws {
        let keys = try TestKeys()
        let worker = try keys.accepted(.worker)
        let server = try TestServer(security: keys.encrypted())
        defer { server.close() }
        keys.damage("line 3 is nonsense")
        let event = try #require(server.securityEvents.next(within: .seconds(20)))
        #expect("\(event)".contains("line 3 is nonsense") && event.isWarning)
        try expectWelcome(server.server.endpoint, keys.client(worker))
        keys.damage(nil)
        keys.revoke(worker)
        #expect(try failure(server.server.endpoint, keys.client(worker)).reason == .key)
        // The problem was told once, and then that there are none left.
        let next = try #require(server.securityEvents.next(within: .seconds(20)))
        guard case .keysRead(0) = next else { throw WireError(.field, "\(next)") }
    }

    @Test func whoTakesARoutingIDTakesNoWelcome() throws {
        let keys = try TestKeys()
        let (worker, reader) = (try keys.accepted(.worker), try keys.accepted(.reader))
        let server = try TestServer(security: keys.encrypted())
        defer { server.close() }
        do {
            let first = RawPeer(server.server.endpoint, keys, worker, routingID: "the same")
            first.send(try Frames(.hello(hello(.worker))).frames)
            guard case .welcome? = try first.receiveMessage()?.message else { throw WireError(.overdue, "no welcome") }
            // It may ask, and comes back to find that so.
            first.send(try Frames(.readClasses, request: 4).frames)
            guard case .acknowledged? = try first.receiveMessage()?.message else {
                throw WireError(.overdue, "no answer")
            }
        }
        let second = RawPeer(server.server.endpoint, keys, reader, routingID: "the same")
        second.send(try Frames(.readSliceHashes, request: 5).frames)
        guard case (5, .refused(let refusal))? = try second.receiveMessage() else {
            throw WireError(.overdue, "no refusal")
        }
        #expect(refusal.code == .notWelcomed)
    }

    /// What goes over the wire can be read where it is not encrypted, and only there.
    @Test func onlyEncryptedTrafficCannotBeRead() throws {
        let keys = try TestKeys()
        let worker = try keys.accepted(.worker)
        let secretWords = ["the name of the worker", "the words of a task"]
        let cases: [(ServerSecurity, ClientSecurity, isReadable: Bool)] = [
            (.none, .none, true), (try keys.shown(), TestKeys.shown(worker), true),
            (try keys.encrypted(), keys.client(worker), false),
        ]
        for (server, client, isReadable) in cases {
            let server = try TestServer(security: server) { _ in
                .refused(Refusal(.internalError, secretWords[1]))
            }
            defer { server.close() }
            let tap = try WireTap(server.server.endpoint)
            defer { tap.close() }
            var hello = hello(.worker)
            hello.name = secretWords[0]
            let mailbox = Mailbox<ClientEvent>()
            let connection = try ClientConnection(
                connect: tap.endpoint, hello: hello, security: client, events: mailbox.sink { $0 })
            defer { connection.close() }
            var isAnswered = false
            let deadline = ContinuousClock.now + .seconds(20)
            while !isAnswered, let event = mailbox.next(until: deadline) {
                if case .welcomed = event { connection.send(.readClasses) }
                if case .received(_, .refused) = event { isAnswered = true }
            }
            #expect(isAnswered)
            for word in secretWords { #expect(tap.saw(word) == isReadable, "\(word)") }
            #expect(!tap.saw(worker.own.secretKey.text) && !tap.saw(keys.server.secretKey.text))
        }
    }

    @Test func bytesAtACurvePortHarmNobody() throws {
        let keys = try TestKeys()
        let worker = try keys.accepted(.worker)
        let server = try TestServer(security: keys.encrypted())
        defer { server.close() }
        let port = try #require(server.server.endpoint.split(separator: ":").last.flatMap { UInt16($0) })
        var generator = SystemRandomNumberGenerator()
        func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in .random(in: 0...255, using: &generator) } }
        for round in 0..<300 {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(descriptor) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            _ = withUnsafeBytes(of: &address) {
                connect(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
            }
            // A whole greeting of ZMTP 3 with CURVE, then a command: HELLO, INITIATE or nonsense, of the right size or another.
            var greeting: [UInt8] = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0] + Array("CURVE".utf8)
            greeting += [UInt8](repeating: 0, count: 64 - greeting.count)
            let name = ["HELLO", "INITIATE", "MESSAGE", "ERROR", "READY"][round % 5]
            let body = [UInt8(name.utf8.count)] + Array(name.utf8) + bytes(round % 3 == 0 ? 194 : .random(in: 0...250))
            let command = [0x04, UInt8(truncatingIfNeeded: body.count)] + body
            let message = round % 7 == 0 ? bytes(200) : greeting + command
            _ = send(descriptor, message, message.count, Int32(MSG_NOSIGNAL))
        }
        let deadline = ContinuousClock.now + .seconds(20)
        while server.server.counters.turnedAway.values.reduce(0, +) < 100, .now < deadline { usleep(1000) }
        #expect(server.server.counters.turnedAway.values.reduce(0, +) >= 100)
        #expect(server.server.counters.received == 0)
        try expectWelcome(server.server.endpoint, keys.client(worker))
        // As many strangers, and a few lines about them.
        var told = 0
        while server.securityEvents.next(within: .zero) != nil { told += 1 }
        #expect(told > 0 && told < 100)
    }

    @Test func aLogIsNotFilled() {
        var throttle = TurnedAwayThrottle()
        let start = ContinuousClock.now
        var told: [Int] = []
        for second in 0..<25 {
            for _ in 0..<10 {
                if case .turnedAway(_, _, _, let others) = throttle.note(
                    .mechanism, address: "10.0.0.1", key: nil, at: start + .seconds(second))
                {
                    told.append(others)
                }
            }
        }
        #expect(told == [0, 99, 99])
        // Another reason is told of at once.
        #expect(throttle.note(.key, address: nil, key: nil, at: start + .seconds(25)) != nil)
    }
}
