import Cluster
import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing
import Wire

/// What any peer can do to the servers of a training cluster.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct HostileTests {
    /// Words that a terminal would obey.
    private static let obeyed = "\u{1B}[2J\nforged\u{9B}31m\u{202E}"

    /// A program that is left behind, or started, holds no file, lock or socket of the process before it.
    @Test func descriptorsEndWithTheProgram() throws {
        try withEndlessTraining(arguments: ["--http", "127.0.0.1:0"]) { cluster, _ in
            // Foundation gives every process that it starts the end of a socket, to know when it has ended. The list of them is not read
            // at once: one may be missing while others come and go.
            func isGiven(_ target: String) -> Bool {
                (0..<5).contains { _ in
                    let unix = (try? String(contentsOfFile: "/proc/net/unix", encoding: .utf8)) ?? ""
                    return unix.split(separator: "\n").contains { line in
                        let columns = line.split(separator: " ")
                        return columns.count > 6 && target == "socket:[\(columns[6])]"
                    }
                }
            }
            for process in cluster.processes {
                let root = "/proc/\(process.processIdentifier)"
                for number in try FileManager.default.contentsOfDirectory(atPath: "\(root)/fd") {
                    guard let descriptor = Int(number), descriptor > 2,
                        let text = try? String(contentsOfFile: "\(root)/fdinfo/\(number)", encoding: .utf8),
                        let line = text.split(separator: "\n").first(where: { $0.hasPrefix("flags:") })
                    else { continue }
                    let flags = line.split(whereSeparator: \.isWhitespace).last.flatMap { Int($0, radix: 8) } ?? 0
                    let target =
                        (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(root)/fd/\(number)")) ?? ""
                    if flags & 0o2000000 == 0, isGiven(target) { continue }
                    #expect(flags & 0o2000000 != 0, "\(process.name) keeps \(target) open for others")
                }
            }
        }
    }

    /// A crash is the system's affair: no program of the runtime's holds the state of a process that has ended.
    @Test func crashesLeaveNothingBehind() throws {
        try withEndlessTraining { cluster, _ in
            let process = cluster.shards[0]
            Foundation.kill(process.processIdentifier, SIGSEGV)
            try cluster.waitUntil("it has ended", seconds: 20) { !process.isRunning }
            #expect(!cluster.log("shard-0", lines: 1000).contains("Crash"))
            // The directory is free at once.
            try process.start()
            let step = try cluster.committedStep()
            try cluster.waitUntilCommitted(step + 2)
        }
    }

    /// In the name of a member counts what its process says, and nobody's words reach a terminal as they are.
    @Test func othersSpeakForNobody() throws {
        try withEndlessTraining { cluster, _ in
            let client = try OperatorClient(connect: cluster.endpoint, deadline: .seconds(20))
            defer { client.close() }
            let evaluation = Evaluation(
                member: MemberID(.worker, 0), incarnation: 1, step: 1, name: Self.obeyed, values: ["accuracy": 1])
            #expect(throws: WireError.self) { try client.request(.evaluation(evaluation), deadline: .seconds(20)) }
            let evaluations = try cluster.status().evaluations
            #expect(evaluations.isEmpty)
            let leave = Leave(member: MemberID(.worker, 0), incarnation: 1, reason: Self.obeyed)
            _ = try client.request(.leave(leave), deadline: .seconds(20))
            var hello = Hello(role: .worker, incarnation: 5)
            (hello.name, hello.host, hello.clusterID) = (Self.obeyed, Self.obeyed, "another")
            #expect(throws: WireError.self) {
                try OperatorClient(connect: cluster.endpoint, hello: hello, deadline: .seconds(20))
            }
            let log = cluster.log("coordinator", lines: 10_000)
            #expect(!log.contains("worker-0 leaves"))
            #expect(log.contains("\\u{1B}[2J") && log.contains("\\u{202E}"))
            #expect(!log.unicodeScalars.contains { $0.value == 0x1B || $0.value == 0x9B || $0.value == 0x202E })
            #expect(!log.split(separator: "\n").contains { $0.hasPrefix("forged") })
            let step = try cluster.committedStep()
            try cluster.waitUntilCommitted(step + 2)
        }
    }

    /// A server without descriptors says so, and goes on when there are some again.
    @Test func noDescriptorsLeft() throws {
        try withEndlessTraining { cluster, _ in
            let coordinator = try #require(cluster.coordinator)
            let used = try FileManager.default.contentsOfDirectory(
                atPath: "/proc/\(coordinator.processIdentifier)/fd"
            ).count
            try coordinator.limitDescriptors(to: used + 10)
            var peers: [RawConnection] = []
            for _ in 0..<60 { if let peer = try? RawConnection(cluster.endpoint, greets: false) { peers.append(peer) } }
            try cluster.waitUntil("it is said", seconds: 30) {
                cluster.log("coordinator", lines: 1000).contains("no descriptors left")
            }
            // Those in surplus are ended rather than left waiting.
            try cluster.waitUntil("most are ended", seconds: 30) { peers.count { $0.isEnded } >= 40 }
            let steps = try String(contentsOf: cluster.directory.appending(path: "metrics.jsonl"), encoding: .utf8)
                .split(separator: "\n").count
            try coordinator.limitDescriptors(to: 4096)
            peers = []
            let step = try cluster.committedStep()
            try cluster.waitUntilCommitted(step + 2)
            #expect(step + 1 >= steps - 1)
            let refused = try cluster.object("status")["refused"] as? [String: Int] ?? [:]
            #expect(refused["no descriptors", default: 0] > 0, "\(refused)")
        }
    }

    /// Deeds of a moment each: the cluster goes on, and a server's memory stays bounded.
    @Test(arguments: [HostileDeed.rows, .pings, .emptyFrames]) func aMomentOf(_ deed: HostileDeed) throws {
        try withEndlessTraining { cluster, _ in
            deed.run(try cluster.shardEndpoint(0), .shard, classes: [0], seconds: 1.5)
            let step = try cluster.committedStep()
            try cluster.waitUntilCommitted(step + 2)
            let ended = cluster.processes.filter { !$0.isRunning }.map(\.name)
            #expect(ended.isEmpty)
        }
    }
}
