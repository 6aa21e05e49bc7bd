import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

/// Files of an earlier version, made by `Tests/Earlier/make`: they are read, trained on, and give the bits that the earlier version gave.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct EarlierFilesTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Earlier")

    /// The files in a new directory, with the data beside them.
    private func withFiles(_ body: (_ directory: URL, _ configuration: String) throws -> Void) throws {
        try withDirectory { directory in
            _ = try SyntheticData.writeFolder(to: directory)
            let tar = Process()
            tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            tar.arguments = ["tar", "xzf", Self.folder.appending(path: "run.tar.gz").path, "-C", directory.path]
            try tar.run()
            tar.waitUntilExit()
            try #require(tar.terminationStatus == 0)
            try body(
                directory, String(contentsOf: Self.folder.appending(path: "run.yaml"), encoding: .utf8))
        }
    }

    /// Trains to the end.
    ///
    /// - Returns: the hashes.
    private func trained(
        _ directory: URL, _ files: URL, _ configuration: String, arguments: [String] = []
    ) throws -> NSDictionary {
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.stop() }
        cluster.workingDirectory = files
        try cluster.startCoordinator(
            configuration: configuration, settings: ["cluster.pause_after=0"], arguments: arguments)
        for _ in 0..<2 { try cluster.addShard() }
        try cluster.addWorker()
        try cluster.waitUntil("it trains", seconds: 120) {
            guard let status = try? cluster.status() else { return false }
            if status.state == "paused" { _ = try cluster.order("resume") }
            return status.committed > 13
        }
        try cluster.waitUntilFinished(seconds: 120)
        return try #require(JSONSerialization.jsonObject(with: cluster.query("hashes")) as? NSDictionary)
    }

    @Test func areTrainedOnWithTheSameBits() throws {
        try withFiles { directory, configuration in
            let expected = try #require(
                JSONSerialization.jsonObject(
                    with: Data(contentsOf: Self.folder.appending(path: "hashes.json"))) as? NSDictionary)
            // The coordinator's database and the directories of two shards.
            let continued = try trained(directory, directory, configuration)
            // A checkpoint, in a new run.
            let resumed = try trained(
                directory.appending(path: "new"), directory, configuration,
                arguments: ["--resume", directory.appending(path: "checkpoints/step-00000013").path])
            #expect(resumed == continued)
            // Other processors add in another order.
            let processor = try String(contentsOf: Self.folder.appending(path: "processor.txt"), encoding: .utf8)
            if try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8).contains(processor) {
                #expect(continued == expected)
            }
        }
    }
}
