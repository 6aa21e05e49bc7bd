import CZeroMQ
import Cluster
import StepProtocol
import TestSupport
import Testing
import Wire

#if canImport(Glibc)
    import Glibc
#endif

/// Random and mutated messages against a real server. `FUZZ_SEED` repeats a run, `FUZZ_COUNT` sets its length.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20)), .serialized) struct FuzzTests {
    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }

        mutating func bytes(upTo limit: Int) -> [UInt8] {
            (0..<Int.random(in: 0...limit, using: &self)).map { _ in UInt8.random(in: 0...255, using: &self) }
        }

        mutating func mutate(_ bytes: inout [UInt8]) {
            guard !bytes.isEmpty else {
                bytes = self.bytes(upTo: 8)
                return
            }
            let at = Int.random(in: 0..<bytes.count, using: &self)
            switch Int.random(in: 0..<12, using: &self) {
            case 0..<7: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &self)
            case 7: bytes[at] = [0, 0x7f, 0x80, 0xff].randomElement(using: &self) ?? 0
            case 8: bytes.removeSubrange(at...)
            case 9: bytes.insert(contentsOf: self.bytes(upTo: 16), at: at)
            // The same fields twice: protobuf merges them.
            case 10: bytes += bytes[at...]
            default: bytes.remove(at: at)
            }
        }

        mutating func message(from corpus: [[[UInt8]]]) -> [[UInt8]] {
            if Int.random(in: 0..<5, using: &self) == 0 {
                return (0...Int.random(in: 0..<4, using: &self)).map { _ in bytes(upTo: 200) }
            }
            var frames = corpus.randomElement(using: &self) ?? []
            for _ in 0..<Int.random(in: 1...3, using: &self) {
                switch Int.random(in: 0..<10, using: &self) {
                case 0: frames.append(bytes(upTo: 64))
                case 1 where frames.count > 1: frames.removeLast()
                case 2: frames.shuffle(using: &self)
                // Another message's header behind this one: two bodies.
                case 3: frames[0] += corpus.randomElement(using: &self)?[0] ?? []
                default:
                    let frame = Int.random(in: 0..<4, using: &self) == 0 ? frames.count - 1 : 0
                    mutate(&frames[frame])
                }
            }
            return frames
        }
    }

    private static func environment(_ name: String) -> UInt64? { getenv(name).flatMap { UInt64(String(cString: $0)) } }

    @Test func theServerKeepsServing() throws {
        let seed = FuzzTests.environment("FUZZ_SEED") ?? UInt64.random(in: 0..<1 << 32)
        let count = Int(FuzzTests.environment("FUZZ_COUNT") ?? 20_000)
        print("fuzz: FUZZ_SEED=\(seed) FUZZ_COUNT=\(count)")
        let server = try TestServer(policy: nil)
        defer { server.close() }
        var generator = Generator(state: seed)
        let corpus = try Samples.all().map { try Frames($0).frames }
        let withoutHello = Array(corpus.dropFirst())
        // Two peers that were welcomed, one that never asks.
        let peers = (0..<3).map { _ in RawPeer(server.server.endpoint) }
        for peer in peers.prefix(2) {
            peer.send(try Frames(.hello(Samples.hello)).frames)
            guard case .welcome? = try peer.receiveMessage()?.message else {
                throw WireError(.overdue, "no welcome")
            }
        }
        for number in 0..<count {
            let index = number % peers.count
            peers[index].send(generator.message(from: index < 2 ? corpus : withoutHello))
            if number % 64 == 0 { for peer in peers { while peer.receive(waiting: false) != nil {} } }
        }
        // Every message was delivered, refused, or ignored as a repetition, and counted.
        let deadline = ContinuousClock.now + .seconds(60)
        var counters = server.server.counters
        while counters.received + counters.rejectedTotal + counters.ignored < count + 2, .now < deadline {
            for peer in peers { while peer.receive(waiting: false) != nil {} }
            counters = server.server.counters
        }
        #expect(counters.received + counters.rejectedTotal + counters.ignored == count + 2)
        #expect(counters.rejectedTotal > count / 2)
        #expect(counters.rejected[.malformed, default: 0] > 0 && counters.rejected[.notWelcomed, default: 0] > 0)
        print("fuzz: \(counters.received) delivered, rejected: \(counters.rejected)")

        let client = try OperatorClient(connect: server.server.endpoint)
        defer { client.close() }
        guard case .acknowledged = try client.request(.readSliceHashes) else { throw WireError(.field, "no answer") }
    }

    @Test func decodersOfAnswersStandToo() throws {
        var generator = Generator(state: FuzzTests.environment("FUZZ_SEED") ?? 1)
        let corpus = try Samples.all().map { try Frames($0).frames }
        var passed = 0
        for _ in 0..<20_000 {
            let frames = Frames(generator.message(from: corpus))
            guard let decoded = try? frames.decoded(offset: Int.random(in: 0..<8, using: &generator)) else { continue }
            // What decodes can be encoded, and decodes to the same.
            let again = try Frames(decoded.message, request: decoded.request)
            #expect(fields(try again.decoded().message) == fields(decoded.message))
            passed += 1
        }
        #expect(passed > 100)
    }

    @Test func bytesThatAreNotZeroMQ() throws {
        let server = try TestServer()
        defer { server.close() }
        var generator = Generator(state: 7)
        let port = try #require(server.server.endpoint.split(separator: ":").last.flatMap { UInt16($0) })
        for _ in 0..<200 {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            defer { close(descriptor) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            let result = withUnsafeBytes(of: &address) {
                connect(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
            }
            #expect(result == 0)
            var bytes = generator.bytes(upTo: 300)
            // Half of them begin like ZMTP.
            if Bool.random(using: &generator) { bytes = [0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0] + bytes }
            _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        }
        let client = try OperatorClient(connect: server.server.endpoint)
        defer { client.close() }
        guard case .acknowledged = try client.request(.readSliceHashes) else { throw WireError(.field, "no answer") }
    }
}
