import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// `coordinator backup` and `restore-backup`, as programs, with checkpoints of a cluster.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct BackupTests {
    /// A short run with checkpoints after steps 9, 19 and 29 in `directory/checkpoints`.
    private func withCheckpoints(_ body: (_ directory: URL, _ configuration: String) throws -> Void) throws {
        try withDirectory { directory in
            let configuration = folderTraining(try writeFolderDataset(to: directory), steps: 36)
            let cluster = try LocalCluster(directory: directory.appending(path: "first"))
            defer { cluster.stop() }
            try cluster.start(
                configuration: configuration,
                settings: [
                    "checkpoint.directory=\(directory.appending(path: "checkpoints").path)",
                    "checkpoint.every_steps=10",
                ],
                world: .init(shards: 2, workers: 1))
            try cluster.waitUntilFinished(seconds: 120)
            try cluster.waitForStatus("the checkpoints are there", seconds: 30) { $0.checkpoints.count >= 3 }
            cluster.stop()
            try body(directory, configuration)
        }
    }

    @discardableResult
    private func coordinator(_ arguments: String..., code expected: Int32 = 0) throws -> String {
        let (code, text) = try LocalCluster.run("coordinator", arguments)
        #expect(code == expected, "\(arguments): \(text)")
        return text
    }

    @Test func aRunGoesOnFromWhatWasBackedUp() throws {
        try withCheckpoints { directory, configuration in
            let (checkpoints, backups) = ("\(directory.path)/checkpoints", "\(directory.path)/backups")
            let text = try coordinator("backup", checkpoints, backups, "--keep", "2")
            #expect(text.contains("2 backups") && text.contains("same disk"), "\(text)")
            #expect(try coordinator("backup", checkpoints, backups, "--keep", "2").contains("0 new"))
            #expect(try coordinator("verify", backups).components(separatedBy: " 0 problems").count == 3)

            // Bits flip in a backup, and in a checkpoint that has no backup yet.
            let newest = try #require(try FileManager.default.contentsOfDirectory(atPath: backups).sorted().last)
            let file = "\(backups)/\(newest)/slices/slice-00003.safetensors"
            try flipBit(in: URL(fileURLWithPath: file))
            #expect(try coordinator("verify", backups, code: 1).contains(file))
            #expect(try coordinator("restore-backup", backups, "\(directory.path)/again", code: 66).contains(file))
            #expect(try FileManager.default.contentsOfDirectory(atPath: "\(directory.path)/again").isEmpty)
            try flipBit(in: URL(fileURLWithPath: file))
            let source = "\(checkpoints)/\(newest)/slices/slice-00003.safetensors"
            try flipBit(in: URL(fileURLWithPath: source))
            #expect(try coordinator("backup", checkpoints, "\(directory.path)/other", code: 1).contains(source))
            #expect(try coordinator("verify", "\(directory.path)/other").contains("0 problems"))

            // The checkpoints are lost.
            try FileManager.default.removeItem(atPath: checkpoints)
            try coordinator("restore-backup", backups, checkpoints)
            let cluster = try LocalCluster(directory: directory.appending(path: "second"))
            defer { cluster.stop() }
            try cluster.start(
                configuration: configuration, arguments: ["--resume", "\(checkpoints)/\(newest)"],
                world: .init(shards: 1, workers: 1))
            try cluster.waitUntilFinished(seconds: 120)
            let reference = try TrainingRun.run(
                configuration: configuration, world: .init(shards: 1, workers: 1),
                in: directory.appending(path: "reference"), seconds: 120)
            #expect(try TrainingRun(of: cluster).hashes == reference.hashes)
        }
    }

    /// `kill -9` while files are copied, again and again, at another place each time.
    @Test func killedWhileItCopies() throws {
        try withCheckpoints { directory, _ in
            let checkpoints = directory.appending(path: "checkpoints")
            let names = try FileManager.default.contentsOfDirectory(atPath: checkpoints.path).filter {
                $0.hasPrefix("step-")
            }
            let (first, second) = (try #require(names.sorted().first), try #require(names.sorted().last))
            let backups = "\(directory.path)/backups"
            try coordinator("backup", checkpoints.appending(path: first).path, backups)
            let process = ClusterProcess(
                name: "backup", program: LocalCluster.builtBinaries.appending(path: "coordinator"),
                arguments: ["backup", checkpoints.path, backups], environment: [:],
                log: directory.appending(path: "backup.log"))
            let partial = "\(backups)/\(second).partial"
            var killed = 0
            for place in 1...12 {
                try process.start()
                // Once so many files are there.
                while process.isRunning, count(below: partial) < place { usleep(200) }
                if process.isRunning { killed += 1 }
                process.kill()
                let text = try coordinator("verify", "\(backups)/\(first)")
                #expect(text.contains("0 problems"), "\(text)")
                if FileManager.default.fileExists(atPath: "\(backups)/\(second)") { break }
            }
            #expect(killed >= 3, "it was killed \(killed) times while it copied")
            #expect(try coordinator("backup", checkpoints.path, backups).contains("backups in"))
            let text = try coordinator("verify", backups)
            #expect(text.components(separatedBy: " 0 problems").count == names.count + 1, "\(text)")
            let left = try FileManager.default.contentsOfDirectory(atPath: backups).sorted()
            #expect(left == (["lock"] + names).sorted())
        }
    }

    private func count(below path: String) -> Int {
        let found = (try? FileManager.default.subpathsOfDirectory(atPath: path)) ?? []
        return found.count { $0.hasSuffix(".safetensors") }
    }

    @Test(.enabled(if: SmallDisk.isPossible, "only root can mount a small disk"))
    func aFullDiskCostsNothing() throws {
        try withCheckpoints { directory, _ in
            let checkpoints = directory.appending(path: "checkpoints")
            let names = try FileManager.default.contentsOfDirectory(atPath: checkpoints.path).sorted()
            let bytes = try files(in: checkpoints.appending(path: names[0])).reduce(0) { $0 + $1.bytes }
            let disk = try SmallDisk(at: directory.appending(path: "disk"), bytes: 64 << 20)
            defer { try? disk.remove() }
            let backups = disk.path.path + "/backups"
            try coordinator("backup", checkpoints.appending(path: names[0]).path, backups)
            let filler = try disk.fill()
            let handle = try FileHandle(forWritingTo: filler)
            // Room for half of the next.
            let size = try handle.seekToEnd()
            try handle.truncate(atOffset: size - UInt64(bytes / 2))
            try handle.close()
            let text = try coordinator("backup", checkpoints.path, backups, code: 75)
            #expect(text.contains(backups) && text.contains("make room"), "\(text)")
            #expect(try coordinator("verify", backups).components(separatedBy: " 0 problems").count == 2)
            try FileManager.default.removeItem(at: filler)
            #expect(try coordinator("backup", checkpoints.path, backups).contains("shared"))
            let end = try coordinator("verify", backups)
            #expect(end.components(separatedBy: " 0 problems").count == names.count + 1, "\(end)")
        }
    }

    @Test func whatCannotBeIsSaid() throws {
        try withDirectory { directory in
            let path = directory.path
            for (arguments, code, words) in [
                (["backup", "\(path)/nothing", path], Int32(66), "\(path)/nothing is not there"),
                (["backup", path, "\(path)/b"], 66, "no complete checkpoint"),
                (["restore-backup", path, "\(path)/b"], 66, "no complete checkpoint"),
                (["backup", path, "\(path)/b", "--keep", "0"], 64, "at least 1"),
            ] {
                let (found, text) = try LocalCluster.run("coordinator", arguments)
                #expect(found == code && text.contains(words), "\(arguments): \(found) \(text)")
            }
        }
    }
}
