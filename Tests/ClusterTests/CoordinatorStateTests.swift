import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// What a coordinator keeps over its death, without a cluster around it.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct CoordinatorStateTests {
    private static let configuration = """
        data: {kind: features, path: "/nowhere", classes: 100, samples: 64, fingerprint: x}
        backbone: {name: none, embedding_size: 8}
        head: {slices: 4}
        batch: {size: 8, micro_batch: 4}
        schedule: {steps: 12}
        evaluation: {held_out_pairs: 0}
        """

    @Test func ordersOutliveIt() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(configuration: Self.configuration)
            for order in [["add", "5"], ["retire", "4,7-9"], ["merge", "1", "104"]] {
                let (code, text) = try cluster.run("classes", order)
                #expect(code == 0, "\(text)")
            }
            #expect(try cluster.run("pause").code == 0)
            let before = try cluster.status()
            #expect(before.pendingOperations.count == 3)
            for _ in 0..<3 {
                try cluster.restartCoordinator()
                // One that has not answered yet may not have begun its term.
                _ = try cluster.status()
            }
            let after = try cluster.status()
            #expect(after.clusterID == before.clusterID)
            #expect(after.state == "paused")
            #expect(after.pendingOperations == before.pendingOperations)
            #expect(after.term == before.term + 3)
            #expect(try cluster.run("events").text.contains("waiting for"))
        }
    }

    @Test func ordersThatMakeNoSenseAreRefusedWithTheReason() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(configuration: Self.configuration)
            for (command, arguments, reason) in [
                ("classes", ["retire", "1000"], "1000"), ("classes", ["retire", "7-"], "7-"),
                ("classes", ["merge", "3", "3"], "itself"), ("classes", ["add", "0"], "at least one"),
                ("classes", ["add", "3", "--from", "/missing.safetensors"], "/missing.safetensors"),
                ("drain", ["shard-7"], "shard-7"), ("drain", ["worker-0"], "worker-0"), ("checkpoint", [], "nothing"),
                ("restore", [], "no checkpoint"), ("restore", ["/missing"], "/missing"), ("forget", ["x"], "\"x\""),
            ] {
                let (code, text) = try cluster.run(command, arguments)
                #expect(code == 65, "\(command) \(arguments): \(text)")
                #expect(text.contains(reason), "\(command) \(arguments): \(text)")
            }
            #expect(try cluster.status().pendingOperations.isEmpty)
        }
    }

    @Test(.enabled(if: SmallDisk.isPossible, "only root can mount a small disk"))
    func aFullDiskHoldsItUp() throws {
        try withDirectory { directory in
            let disk = try SmallDisk(at: directory.appending(path: "disk"), bytes: 1 << 20)
            defer { try? disk.remove() }
            let cluster = try LocalCluster(directory: directory.appending(path: "run"))
            defer { cluster.stop() }
            try cluster.startCoordinator(
                configuration: Self.configuration, arguments: ["--state", disk.path.appending(path: "state").path])
            let filler = try disk.fill()
            // What SQLite has room for already is still taken.
            var last: (code: Int32, text: String) = (0, "")
            for round in 0..<2000 where last.code == 0 {
                last = try cluster.run(round % 2 == 0 ? "pause" : "resume")
            }
            #expect(last.code == 75)
            #expect(last.text.contains("full"), "\(last.text)")
            #expect(try cluster.status().obstacle.contains("full"))
            #expect(try cluster.run("classes", ["add", "3"]).code == 75)
            try FileManager.default.removeItem(at: filler)
            try cluster.waitForStatus("it goes on", seconds: 20) { $0.obstacle.isEmpty }
            #expect(try cluster.run("classes", ["add", "3"]).code == 0)
            try cluster.restartCoordinator()
            #expect(try cluster.status().pendingOperations.count == 1)
        }
    }
}
