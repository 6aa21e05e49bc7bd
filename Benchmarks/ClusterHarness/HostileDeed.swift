internal import Cluster
internal import Foundation
internal import Glibc
internal import Tensors
internal import Wire

/// What a peer may do to a server of a cluster without keys, whoever it is.
public enum HostileDeed: String, CaseIterable, Sendable {
    case floodOfQuestions = "asks without waiting, breaks off"
    case pings = "PINGs between questions, breaks off"
    case rows = "asks for many rows, reads nothing"
    case hashes = "asks for hashes without end"
    case stranger = "a stranger's message without end"
    case member = "a worker's message without end"
    case emptyFrames = "empty frames without end"
    case trickle = "fragments byte by byte"
    case descriptors = "more connections than descriptors"
    case names = "names that terminals obey, another's goodbye"
    case noise = "random and mutated messages"

    /// The servers that it is done to.
    public var targets: [Target] {
        switch self {
        case .rows, .hashes, .member: [.shard]
        default: [.coordinator, .shard]
        }
    }

    /// A server of a cluster.
    public enum Target: String, Sendable {
        case coordinator, shard
    }

    /// Does it for so many seconds. What fails is what it is about.
    ///
    /// - Parameters:
    ///   - endpoint: of the server.
    ///   - classes: class ids that a shard owns.
    public func run(_ endpoint: String, _ target: Target, classes: [Int64], seconds: Double) {
        let end = Date(timeIntervalSinceNow: seconds)
        switch self {
        case .floodOfQuestions: flood(endpoint, question(target), until: end)
        case .pings: flood(endpoint, question(target) + RawConnection.ping, until: end)
        case .hashes: flood(endpoint, Self.message(.readSliceHashes), until: end)
        case .rows: askForRows(endpoint, classes, until: end)
        case .stranger: endless(endpoint, nil, frame: 64 << 10, until: end)
        case .member: endless(endpoint, .worker, frame: 64 << 10, until: end)
        case .emptyFrames: endless(endpoint, .operator, frame: 0, until: end)
        case .trickle: trickle(endpoint, until: end)
        case .descriptors: crowd(endpoint, until: end)
        case .names: impersonate(endpoint, until: end)
        case .noise:
            var fuzzer = FrameFuzzer(seed: UInt64(seconds * 1000))
            while Date() < end { _ = try? fuzzer.attack(endpoint, count: 500) }
        }
    }

    private func question(_ target: Target) -> [UInt8] {
        Self.message(
            target == .coordinator
                ? .operatorRequest(OperatorRequest(command: "history")) : .readSliceHashes)
    }

    /// A message on the wire.
    private static func message(_ message: WireMessage, request: UInt64 = 3) -> [UInt8] {
        guard let encoded = try? WireCodec.encode(message, request: request) else { return [] }
        let frames = encoded.frames.map { Array(UnsafeRawBufferPointer(start: $0.rawPointer, count: $0.byteCount)) }
        return frames.enumerated().flatMap { RawConnection.frame($1, more: $0 + 1 < frames.count) }
    }

    /// Connections that have said hello; fewer if the server does not take all.
    private func connections(_ endpoint: String, _ count: Int, _ role: MemberRole?) -> [RawConnection] {
        (0..<count).compactMap { _ in
            guard let connection = try? RawConnection(endpoint) else { return nil }
            if let role {
                connection.send(Self.message(.hello(Hello(role: role, incarnation: .random(in: 1 ... .max)))))
            }
            return connection
        }
    }

    /// Again and again: asks as fast as it goes for half a second over some connections, and breaks off.
    private func flood(_ endpoint: String, _ message: [UInt8], until end: Date) {
        let many = [[UInt8]](repeating: message, count: 2000).flatMap(\.self)
        while Date() < end {
            let peers = connections(endpoint, 10, .operator)
            var sent = [Int](repeating: 0, count: peers.count)
            let stop = min(end, Date(timeIntervalSinceNow: 0.5))
            while Date() < stop {
                for (index, peer) in peers.enumerated() {
                    sent[index] += max(0, peer.sendNow(many[(sent[index] % many.count)...]))
                }
                Thread.sleep(forTimeInterval: 0.01)
            }
            for peer in peers { peer.end() }
        }
    }

    private func askForRows(_ endpoint: String, _ classes: [Int64], until end: Date) {
        let ids = Tensor([Int64](repeating: classes.first ?? 0, count: 2 << 20))
        let many = Self.message(.readRows(ids: ids))
        let few = Self.message(.readRows(ids: Tensor([Int64](repeating: classes.first ?? 0, count: 60_000))))
        let peers = connections(endpoint, 4, .operator)
        for peer in peers { peer.send(few) }
        while Date() < end {
            for peer in peers { _ = peer.sendNow(many[...]) }
            Thread.sleep(forTimeInterval: 0.01)
        }
    }

    private func endless(_ endpoint: String, _ role: MemberRole?, frame byteCount: Int, until end: Date) {
        let frame = RawConnection.frame([UInt8](repeating: 1, count: byteCount), more: true)
        let frames = [[UInt8]](repeating: frame, count: max(1, (256 << 10) / frame.count)).flatMap(\.self)
        while Date() < end {
            let peers = connections(endpoint, 3, role)
            let stop = min(end, Date(timeIntervalSinceNow: 2))
            var offsets = [Int](repeating: 0, count: peers.count)
            while Date() < stop, !peers.allSatisfy(\.isEnded) {
                for (index, peer) in peers.enumerated() {
                    let sent = peer.sendNow(frames[offsets[index]...])
                    offsets[index] = (offsets[index] + max(0, sent)) % frames.count
                }
            }
        }
    }

    private func trickle(_ endpoint: String, until end: Date) {
        let peers = connections(endpoint, 8, .worker)
        let ids = Tensor([Int64](repeating: 0, count: 8 << 20))
        guard let encoded = try? WireCodec.encode(.readRows(ids: ids), request: 5, series: 9) else { return }
        let announcement = encoded.parts[0].map {
            Array(UnsafeRawBufferPointer(start: $0.rawPointer, count: $0.byteCount))
        }
        for peer in peers {
            peer.send(announcement.enumerated().flatMap { RawConnection.frame($1, more: $0 + 1 < announcement.count) })
        }
        while Date() < end {
            // A frame's beginning, byte by byte.
            for peer in peers { _ = peer.sendNow([2, 0][...]) }
            Thread.sleep(forTimeInterval: 0.2)
        }
    }

    private func crowd(_ endpoint: String, until end: Date) {
        var peers: [RawConnection] = []
        while Date() < end {
            while peers.count < 400, Date() < end, let peer = try? RawConnection(endpoint, greets: false) {
                peers.append(peer)
            }
            peers.removeAll(where: \.isEnded)
            Thread.sleep(forTimeInterval: 0.05)
        }
    }

    private func impersonate(_ endpoint: String, until end: Date) {
        let obeyed = "\u{1B}[2J\u{1B}]0;x\u{7}\n00:00:00 error coordinator: the run failed\u{9B}31m\u{202E}"
        var hello = Hello(role: .operator, incarnation: 1)
        (hello.name, hello.host, hello.clusterID) = (obeyed, obeyed, "another")
        while Date() < end {
            guard let peer = try? RawConnection(endpoint) else { continue }
            peer.send(Self.message(.hello(hello)))
            (hello.clusterID, hello.role) = ("", .operator)
            peer.send(Self.message(.hello(hello)))
            hello.clusterID = "another"
            for number in 0..<3 {
                let member = MemberID(number == 0 ? .worker : .shard, max(0, number - 1))
                peer.send(Self.message(.leave(Leave(member: member, incarnation: 1, reason: obeyed))))
                peer.send(
                    Self.message(
                        .evaluation(
                            Evaluation(
                                member: MemberID(.worker, 0), incarnation: 1, step: 1, name: obeyed,
                                values: ["accuracy": 1]))))
            }
            Thread.sleep(forTimeInterval: 0.05)
        }
    }
}
