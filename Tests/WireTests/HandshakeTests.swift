import Cluster
import StepProtocol
import TestSupport
import Testing
import Wire

@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct HandshakeTests {
    let policy = HandshakePolicy(
        clusterID: "glyphs", embeddingSize: 512, classCount: 5530, configurationHash: "c0ffee",
        instructionSet: "avx512")

    private func hello(_ role: MemberRole = .worker, _ change: (inout Hello) -> Void = { _ in }) -> Hello {
        var hello = Hello(role: role, incarnation: 1)
        hello.instructionSet = "avx512"
        change(&hello)
        return hello
    }

    private func refusal(_ hello: Hello) -> Refusal? {
        if case .failure(let refusal) = policy.check(hello) { refusal } else { nil }
    }

    @Test func refusalsNameBothValues() {
        let cases: [(RefusalCode, [String], Hello)] = [
            (.protocolVersion, ["4", "1"], hello { $0.protocolVersion = 1 }),
            (.clusterID, ["glyphs", "faces"], hello { $0.clusterID = "faces" }),
            (.embeddingSize, ["512", "128"], hello { $0.embeddingSize = 128 }),
            (.classCount, ["5530 classes", "3000"], hello { $0.classCount = 3000 }),
            (.configuration, ["c0ffee", "decaf"], hello { $0.configurationHash = "decaf" }),
            (.instructionSet, ["avx512", "avx2"], hello { $0.instructionSet = "avx2" }),
        ]
        for (code, words, hello) in cases {
            #expect(refusal(hello)?.code == code)
            for word in words { #expect(refusal(hello)?.message.contains(word) == true) }
        }
    }

    @Test func whatIsLeftOpenIsAccepted() {
        #expect(refusal(hello()) == nil)
        #expect(
            refusal(
                hello {
                    $0.clusterID = "glyphs"
                    $0.embeddingSize = 512
                    $0.classCount = 5530
                    $0.configurationHash = "c0ffee"
                }) == nil)
        // An operator computes nothing.
        #expect(refusal(hello(.operator) { $0.instructionSet = "avx2" }) == nil)
        #expect(refusal(hello(.operator) { $0.clusterID = "faces" })?.code == .clusterID)
    }

    @Test func membersAgreeOnLibrariesThatBothUse() {
        var policy = policy
        policy.instructionSet = "openblas Haswell, onednn avx2"
        func isAccepted(_ kernels: String) -> Bool {
            if case .success = policy.check(hello { $0.instructionSet = kernels }) { true } else { false }
        }
        // A shard does not convolve.
        for kernels in ["openblas Haswell", "onednn avx2, openblas Haswell", "onednn avx2", "openblas Haswell, mkl 1"] {
            #expect(isAccepted(kernels), "\(kernels)")
        }
        for kernels in [
            "openblas Zen", "openblas Haswell, onednn avx512", "openblas Zen, onednn avx2", "mkl 1", "avx2", "",
        ] {
            #expect(!isAccepted(kernels), "\(kernels)")
        }
        // What a job computes with is its own affair.
        let outside = hello { $0.job = JobRank(id: 1, rank: 0, worldSize: 1) }
        if case .failure(let refusal) = policy.check(outside) { Issue.record("\(refusal)") }
        let shard = KernelChoice("openblas Haswell")
        #expect(shard.union(KernelChoice("openblas Zen, onednn avx2")).description == "openblas Haswell, onednn avx2")
        #expect(shard.union(shard) == shard)
        #expect(KernelChoice("").agrees(with: KernelChoice("")))
        // The head's own kernels give the same bits: they neither make nor break an agreement.
        let other = KernelChoice("openblas Haswell, head avx2")
        #expect(KernelChoice("openblas Haswell, head portable").agrees(with: other))
        #expect(!KernelChoice("openblas Zen, head avx2").agrees(with: other))
        #expect(!KernelChoice("onednn avx2, head avx2").agrees(with: other))
        #expect(KernelChoice("").union(other).description == "openblas Haswell")
        #expect(other.kernels(of: KernelChoice.head) == "avx2" && shard.kernels(of: KernelChoice.head) == nil)
    }

    @Test func overASocket() throws {
        let server = try TestServer()
        defer { server.close() }
        let cases: [(RefusalCode, Hello)] = [
            (.protocolVersion, hello { $0.protocolVersion = 9 }), (.clusterID, hello { $0.clusterID = "faces" }),
            (.embeddingSize, hello { $0.embeddingSize = 128 }), (.classCount, hello { $0.classCount = 3000 }),
            (.configuration, hello { $0.configurationHash = "decaf" }),
        ]
        for (code, hello) in cases {
            let mailbox = Mailbox<ClientEvent>()
            let client = try ClientConnection(
                connect: server.server.endpoint, hello: hello, events: mailbox.sink { $0 })
            defer { client.close() }
            guard case .refused(let refusal) = mailbox.next(within: .seconds(20)) else {
                throw WireError(.overdue, "not refused: \(code)")
            }
            #expect(refusal.code == code)
            // Another hello on the same connection.
            client.greet(self.hello())
            guard case .welcomed(let welcome) = mailbox.next(within: .seconds(20)) else {
                throw WireError(.overdue, "not welcomed after \(code)")
            }
            #expect(welcome.clusterID == "test")
            #expect(server.server.counters.rejected[code] == 1)
        }
        #expect(server.server.counters.rejectedTotal == cases.count)
    }

    @Test func nothingIsDeliveredBeforeTheHandshake() throws {
        let server = try TestServer { _ in nil }
        defer { server.close() }
        let peer = RawPeer(server.server.endpoint)
        for message in Samples.all() where message.name != "hello" {
            peer.send(try Frames(message, request: 12).frames)
            guard case (let request, .refused(let refusal))? = try peer.receiveMessage() else {
                throw WireError(.overdue, "\(message.name) was not refused")
            }
            #expect(request == 12)
            #expect(refusal.code == .notWelcomed || refusal.code == .unknownRequest)
        }
        #expect(server.server.counters.received == 0)
        #expect(server.server.counters.rejectedTotal == Samples.all().count - 1)
    }

    @Test func aClientChecksWhoWelcomesIt() throws {
        let server = try TestServer(
            policy: HandshakePolicy(clusterID: "faces", embeddingSize: 1, classCount: 1, configurationHash: ""))
        defer { server.close() }
        let mailbox = Mailbox<ClientEvent>()
        // The server of the test calls itself "test" in its welcome, whatever its policy says.
        let client = try ClientConnection(
            connect: server.server.endpoint, hello: hello { $0.clusterID = "faces" }, events: mailbox.sink { $0 })
        defer { client.close() }
        guard case .refused(let refusal) = mailbox.next(within: .seconds(20)) else {
            throw WireError(.overdue, "not refused")
        }
        #expect(refusal.code == .clusterID)
        #expect(refusal.message.contains("test") && refusal.message.contains("faces"))
    }
}
