import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// `coordinator events --follow` and `--since`.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct EventsTests {
    @Test func followShowsEveryEventOnce() throws {
        try withEndlessTraining { cluster, directory in
            let output = directory.appending(path: "followed")
            let follower = ClusterProcess(
                name: "follower", program: LocalCluster.builtBinaries.appending(path: "coordinator"),
                arguments: ["events", "--follow", "--json", "--count", "1000", "--coordinator", cluster.endpoint],
                environment: [:], log: output)
            try follower.start()
            defer { follower.kill() }
            func followed() throws -> [ClusterEvent] {
                // Complaints go to the same file, and the last line may not be whole yet.
                try String(contentsOf: output, encoding: .utf8).split(separator: "\n").compactMap {
                    try? JSONDecoder().decode(ClusterEvent.self, from: Data($0.utf8))
                }
            }
            func waitFor(_ text: String) throws {
                try cluster.waitUntil("\"\(text)\" is followed", seconds: 60) {
                    try followed().contains { $0.text.contains(text) }
                }
            }
            try waitFor("shard-0 joined")
            for round in 1...2 {
                _ = try cluster.query("set", ["lr=0.0\(round)"])
                try waitFor("learning rate 0.0\(round) from step")
                cluster.coordinator?.kill()
                try cluster.waitUntil("it says that it waits", seconds: 60) {
                    try String(contentsOf: output, encoding: .utf8).components(separatedBy: "waiting for it").count
                        == round + 1
                }
                try cluster.startCoordinator()
                let committed = try cluster.committedStep()
                try cluster.waitUntilCommitted(committed + 3)
            }
            try cluster.addWorker()
            try waitFor("worker-1 joined")
            // All that the coordinator has kept, in its order, and nothing twice.
            let kept = try JSONDecoder().decode(
                [ClusterEvent].self, from: cluster.query("events", ["--count", "10000"]))
            let last = try #require(kept.last?.id)
            try cluster.waitUntil("the follower has come as far", seconds: 60) {
                try (followed().last?.id ?? 0) >= last
            }
            let ids = try followed().map { $0.id ?? -1 }
            #expect(ids == Array((kept.first?.id ?? 0)...(ids.last ?? 0)))
            #expect(Array(try followed().prefix(kept.count)) == kept)
            #expect(follower.isRunning)
        }
    }

    @Test func sinceLeavesOutWhatWasBefore() throws {
        try withEndlessTraining { cluster, _ in
            func events(_ arguments: String...) throws -> [ClusterEvent] {
                try JSONDecoder().decode([ClusterEvent].self, from: cluster.query("events", arguments))
            }
            let all = try events()
            let middle = try #require(all.first { $0.text.contains("worker-0 joined") })
            let later = try events("--since", "\(middle.time)")
            #expect(later.first == middle && later.count < all.count)
            #expect(try events("--since", "1h").count >= all.count)
            #expect(try events("--since", "2100-01-01").isEmpty)
            #expect(try events("--since", "1h", "--count", "1").count == 1)
            let wrong = try cluster.run("events", ["--since", "yesterday"])
            #expect(wrong.code == 64 && wrong.text.contains("yesterday"))
            // A first question that nobody answers ends it, as elsewhere.
            let nobody = try LocalCluster.run(
                "coordinator", ["events", "--follow", "--coordinator", "tcp://127.0.0.1:1", "--timeout", "0.5"])
            #expect(nobody.code == 69)
        }
    }
}
