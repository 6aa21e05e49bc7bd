import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// `coordinator top` on a pseudo terminal.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct TopTests {
    private func withCluster(_ body: (LocalCluster) throws -> Void) throws {
        try withEndlessTraining(shards: 2) { cluster, _ in try body(cluster) }
    }

    private func top(
        _ cluster: LocalCluster, columns: Int = 120, rows: Int = 40, environment: [String: String] = [:]
    ) throws -> PseudoTerminal {
        try PseudoTerminal(
            "coordinator", ["top", "--interval", "0.1", "--timeout", "1", "--coordinator", cluster.endpoint],
            columns: columns, rows: rows, environment: environment)
    }

    private func step(in frame: [String]) -> Int? {
        frame.lazy.compactMap { $0.firstMatch(of: #/(\d+) of \d+ steps/#).flatMap { Int($0.1) } }.first
    }

    @Test func itShowsTheRunAndTakesKeys() throws {
        try withCluster { cluster in
            let terminal = try top(cluster)
            defer { terminal.close() }
            try terminal.wait(for: "the cluster") { frame in
                let text = frame.joined(separator: "\n")
                return ["SHARDS", "shard-1", "WORKERS", "worker-0", "EVENTS", "training", "learning rate", "samples/s"]
                    .allSatisfy(text.contains)
            }
            #expect(!terminal.isRestored)
            #expect(terminal.output.contains("\u{1B}[?1049h") && terminal.output.contains("\u{1B}[32m"))
            let first = try #require(step(in: terminal.frame))
            try terminal.wait(for: "later steps") { (step(in: $0) ?? 0) > first }

            // A question, a no, and a yes.
            terminal.type("p")
            try terminal.wait(for: "the question") { $0.last?.contains("pause the run?") == true }
            terminal.type("n")
            try terminal.wait(for: "the keys") { $0.last?.contains("q quit") == true }
            #expect(try cluster.status().state == "training")
            terminal.type("p")
            try terminal.wait(for: "the question") { $0.last?.contains("pause the run?") == true }
            terminal.type("y")
            try terminal.wait(for: "the pause") { $0.first?.contains("paused") == true }
            #expect(try cluster.status().state == "paused")
            terminal.type("p")
            try terminal.wait(for: "the question") { $0.last?.contains("resume the run?") == true }
            terminal.type("y")
            try terminal.wait(for: "the run") { $0.first?.contains("training") == true }

            terminal.type("s")
            try terminal.wait(for: "another order") { $0.last?.contains("sort (time)") == true }
            terminal.resize(columns: 50, rows: 16)
            try terminal.wait(for: "a smaller screen") { $0.count == 16 && $0.allSatisfy { $0.count <= 50 } }
            #expect(!terminal.frame.joined().contains("EVENTS"))
            terminal.type(String(repeating: "\u{1B}[B", count: 40))
            try terminal.wait(for: "what was below") {
                $0.joined().contains("EVENTS") || $0.joined().contains("joined")
            }

            terminal.type("q")
            #expect(try terminal.end() == 0)
            #expect(terminal.isRestored && terminal.output.hasSuffix("\u{1B}[?25h\u{1B}[?1049l"))
        }
    }

    @Test(arguments: [SIGTERM, SIGINT]) func aSignalGivesTheTerminalBack(signal: Int32) throws {
        try withCluster { cluster in
            let terminal = try top(cluster, environment: ["NO_COLOR": "1"])
            defer { terminal.close() }
            try terminal.wait(for: "the cluster") { $0.joined().contains("shard-1") }
            #expect(!terminal.output.contains("\u{1B}[32m"))
            terminal.signal(signal)
            #expect(try terminal.end() == -signal)
            #expect(terminal.isRestored && terminal.output.hasSuffix("\u{1B}[?1049l"))
        }
    }

    @Test func aCoordinatorThatDiesIsWaitedFor() throws {
        try withCluster { cluster in
            let terminal = try top(cluster)
            defer { terminal.close() }
            try terminal.wait(for: "the cluster") { $0.joined().contains("shard-1") }
            cluster.coordinator?.kill()
            try terminal.wait(for: "that nobody answers") { $0.last?.contains("trying again") == true }
            #expect(terminal.frame.joined().contains("shard-1"), "what was known stays")
            // Keys are taken all the same.
            terminal.type("s")
            try cluster.startCoordinator()
            try terminal.wait(for: "the cluster again") { $0.last?.contains("sort (time)") == true }
            let committed = try cluster.committedStep()
            try terminal.wait(for: "later steps") { (step(in: $0) ?? 0) > committed + 1 }
            terminal.type("q")
            #expect(try terminal.end() == 0)
        }
    }

    @Test func withoutATerminalItSaysWhatElseThereIs() throws {
        try withCluster { cluster in
            let (code, text) = try cluster.run("top")
            #expect(code == 64 && text.contains("status --json"), "\(text)")
            let once = try cluster.run("top", ["--once"])
            #expect(once.code == 0 && once.text.contains("shard-1") && !once.text.contains("\u{1B}"), "\(once.text)")
            let status = try JSONDecoder().decode(ClusterStatus.self, from: cluster.query("top", ["--once"]))
            #expect(status.shards.count == 2)
            // As a stream, until the run ends.
            _ = try cluster.query("stop")
            try cluster.waitForStatus("the run is over", seconds: 60) { $0.state == "finished" }
            let lines = try cluster.query("top", ["--interval", "0.1"]).split(separator: UInt8(ascii: "\n"))
            #expect(try lines.map { try JSONDecoder().decode(ClusterStatus.self, from: $0).state } == ["finished"])
            let nobody = try LocalCluster.run(
                "coordinator", ["top", "--once", "--coordinator", "tcp://127.0.0.1:1", "--timeout", "0.5"])
            #expect(nobody.code == 69)
        }
    }
}
