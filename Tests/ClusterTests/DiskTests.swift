import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// What shard servers do with directories in which something is wrong: nothing is damaged, and they say what it is.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct DiskTests {
    @Test(.enabled(if: SmallDisk.isPossible, "only root can mount a small disk"))
    func aFullDiskHoldsTheStepUntilThereIsRoom() throws {
        try withDirectory { outside in
            let disk = try SmallDisk(at: outside.appending(path: "disk"), bytes: 64 << 20)
            defer { try? disk.remove() }
            try withUndisturbedTraining(steps: Undisturbed.steps) { cluster in
                try cluster.addShard()
                let shard = try cluster.addShard(directory: disk.path.appending(path: "shard"))
                try cluster.addWorker()
                try cluster.waitUntilInTheMiddle()
                let filler = try disk.fill()
                let full = try cluster.waitForStatus("the full disk is said", seconds: 30) {
                    $0.shards.contains { !$0.obstacle.isEmpty }
                }
                Thread.sleep(forTimeInterval: 2)
                let later = try cluster.status()
                #expect(later.committed <= full.committed + 1)
                #expect(later.state != "failed")
                let obstacle = later.shards.first { !$0.obstacle.isEmpty }?.obstacle ?? ""
                #expect(obstacle.contains("full") || obstacle.contains("space"), "\(obstacle)")
                #expect(try cluster.run("status").text.contains(obstacle))
                try FileManager.default.removeItem(at: filler)
                try cluster.waitForStatus("training goes on", seconds: 30) { $0.committed > later.committed + 3 }
                // What it wrote meanwhile is whole.
                shard.kill()
                try shard.start()
            }
        }
    }

    @Test(.enabled(if: SmallDisk.isPossible, "only root can mount a small disk"))
    func aDirectoryThatCannotBeWrittenIsNamed() throws {
        try withDirectory { outside in
            let disk = try SmallDisk(at: outside.appending(path: "disk"), bytes: 1 << 20)
            defer { try? disk.remove() }
            try disk.makeReadOnly()
            let (code, text) = try LocalCluster.run(
                "shard-server", ["--coordinator", "tcp://127.0.0.1:1", "--directory", disk.path.path + "/shard"])
            #expect(code != 0)
            #expect(text.contains(disk.path.path), "\(text)")
            #expect(text.lowercased().contains("read-only"), "\(text)")
        }
    }

    @Test func twoServersOnOneDirectory() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(configuration: Undisturbed.configuration(writeFolderDataset(to: directory)))
            let first = try cluster.addShard()
            try cluster.waitForStatus("the shard has joined", seconds: 30) { $0.shards.count == 1 }
            // A stopped process holds its directory too.
            first.suspend()
            let second = try cluster.addShard(directory: cluster.shardDirectory(0))
            try #require(second.waitUntilExit(seconds: 20))
            #expect(second.terminationReason == .exit && second.terminationStatus != 0)
            let log = cluster.log("shard-1")
            #expect(
                log.contains(cluster.shardDirectory(0).path) && log.contains("\(first.processIdentifier)"), "\(log)")
            first.resume()
            #expect(first.isRunning)
        }
    }

    /// As after a power cut: the end of a log is not there. A shard that never syncs has not said that it was safe.
    @Test(arguments: [3, 200_000]) func aTornLogCostsTheStepsInItsTail(bytes: Int) throws {
        try Undisturbed.expectNoTrace(
            of: "\(bytes) bytes of a log torn off", shardArguments: ["--sync", "never"]
        ) { cluster in
            try cluster.waitUntilInTheMiddle(after: 100)
            cluster.shards[0].kill()
            let log = try #require(try Self.logs(of: cluster, shard: 0).last)
            let size = try Data(contentsOf: log).count
            try #require(size > 2 * bytes, "\(size) bytes in \(log.path)")
            let handle = try FileHandle(forWritingTo: log)
            try handle.truncate(atOffset: UInt64(size - bytes))
            try handle.close()
            try cluster.shards[0].start()
        }
    }

    @Test func aDamagedLogStopsTheShardWithThePlace() throws {
        try Undisturbed.expectNoTrace(of: "a damaged log that was repaired") { cluster in
            try cluster.waitUntilInTheMiddle(after: 50)
            cluster.shards[0].kill()
            let log = try #require(try Self.logs(of: cluster, shard: 0).last)
            try flipBit(in: log)
            try Self.expectRefusal(of: cluster, file: log)
            try flipBit(in: log)
            try cluster.shards[0].start()
        }
    }

    @Test func aDamagedSnapshotStopsTheShardWithThePlace() throws {
        try Undisturbed.expectNoTrace(
            of: "a damaged snapshot that was repaired", shardArguments: ["--log-bytes", "300000"]
        ) { cluster in
            try cluster.waitUntilInTheMiddle(after: 20)
            let name = try cluster.name(of: cluster.shards[0])
            try cluster.waitForStatus("a snapshot is there", seconds: 60) { status in
                status.shards.contains { $0.name == name && ($0.snapshotStep ?? -1) >= 0 }
            }
            cluster.shards[0].kill()
            let snapshots = try files(in: cluster.shardDirectory(0)).map(\.url).filter {
                $0.pathExtension == "safetensors"
            }
            for snapshot in snapshots { try flipBit(in: snapshot) }
            try Self.expectRefusal(of: cluster, file: nil)
            // Leftovers of a round that was not over are gone.
            for snapshot in snapshots where FileManager.default.fileExists(atPath: snapshot.path) {
                try flipBit(in: snapshot)
            }
            try cluster.shards[0].start()
        }
    }

    /// Expects that shard 0 does not start, and says which file is damaged and where.
    private static func expectRefusal(of cluster: LocalCluster, file: URL?) throws {
        let before = cluster.log("shard-0", lines: 1000).count
        try cluster.shards[0].start()
        try #require(cluster.shards[0].waitUntilExit(seconds: 30), "it starts with a damaged file")
        #expect(cluster.shards[0].terminationReason == .exit && cluster.shards[0].terminationStatus != 0)
        let log = String(cluster.log("shard-0", lines: 1000).dropFirst(before))
        #expect(log.contains(file?.lastPathComponent ?? ".safetensors"), "\(log)")
        #expect(log.contains("offset") || log.contains("byte"), "\(log)")
        #expect(try cluster.status().state != "failed")
    }

    /// The segments of a shard's log, oldest first.
    private static func logs(of cluster: LocalCluster, shard: Int) throws -> [URL] {
        try files(in: cluster.shardDirectory(shard)).map(\.url).filter { $0.pathExtension == "log" }.sorted {
            $0.path < $1.path
        }
    }

    /// Trains as `Undisturbed` does, with the processes that `body` adds, and expects the same.
    private func withUndisturbedTraining(steps: Int, _ body: (LocalCluster) throws -> Void) throws {
        let undisturbed = try Undisturbed.run.get()
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(
                configuration: Undisturbed.configuration(writeFolderDataset(to: directory)),
                settings: ["cluster.shards=2"])
            try body(cluster)
            try cluster.waitUntilFinished(seconds: 120)
            let run = try TrainingRun(of: cluster)
            #expect(run.gap == nil)
            #expect(run.difference(from: undisturbed) == nil)
        }
    }
}
