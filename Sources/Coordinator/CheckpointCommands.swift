import ArgumentParser
import Foundation
import OperatorStatus
import ProcessSupport
import Wire

/// `coordinator checkpoint`.
struct Checkpoint: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write the whole state at the next step boundary, and wait for it.",
        discussion: "Prints the directory. It can be loaded by any number of shards and workers.")
    @Flag(help: "Give the order and do not wait.") var noWait = false
    @OptionGroup var connection: Connection

    func run() throws {
        if noWait {
            let status = try connection.ask("checkpoint", as: ClusterStatus.self)
            connection.print(status) { "a checkpoint is written at the next step boundary" }
        } else {
            let checkpoint = try connection.takeCheckpoint()
            connection.print(checkpoint) { "step \(checkpoint.step): \(checkpoint.directory)" }
        }
    }
}

extension Connection {
    /// Orders a checkpoint and waits for it.
    func takeCheckpoint() throws -> ClusterStatus.Checkpoint {
        let client = try connectToCoordinator()
        defer { client.close() }
        var status = try ask("checkpoint", as: ClusterStatus.self, of: client)
        let ordered = status.committed
        // A checkpoint waits for whoever is away, which may be for ever: the operator learns for whom.
        var (quiet, told) = (ContinuousClock.now, "")
        while true {
            if let checkpoint = status.checkpoints.last(where: { $0.step >= ordered }) { return checkpoint }
            if !status.checkpointProblem.isEmpty {
                complain("the checkpoint could not be written: \(status.checkpointProblem)")
                throw ExitCode(74)
            }
            if status.state == "failed" {
                complain("the run failed: \(status.reason)")
                throw ExitCode(1)
            }
            if status.state != "waiting", status.state != "paused" { quiet = .now }
            if .now - quiet > .seconds(2), status.reason != told {
                told = status.reason
                complain("the checkpoint waits: \(told)")
            }
            Thread.sleep(forTimeInterval: 0.05)
            status = try ask("status", as: ClusterStatus.self, of: client)
        }
    }
}

/// `coordinator checkpoints`.
struct Checkpoints: OperatorCommand {
    static let configuration = CommandConfiguration(abstract: "List the checkpoints that the cluster has written.")
    @OptionGroup var connection: Connection

    func run() throws {
        let checkpoints = try connection.ask("checkpoints", as: [ClusterStatus.Checkpoint].self)
        connection.print(checkpoints) {
            var table = TextTable(["step", "classes version", "directory"])
            for checkpoint in checkpoints {
                table.add(["\(checkpoint.step)", "\(checkpoint.classVersion)", checkpoint.directory])
            }
            return table.render()
        }
    }
}

/// `coordinator restore`.
struct Restore: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let the whole cluster go back to a checkpoint.",
        discussion: """
            Undoes what was trained since; the steps after the checkpoint are done again, with the same bits. It needs every shard \
            that owns slices: one that is lost for ever is given up with `coordinator forget`, which goes back by itself.
            """)
    @Argument(help: "The checkpoint's directory, or its step; the newest if left out.") var checkpoint: String?
    @OptionGroup var connection: Connection

    func run() throws {
        let status = try connection.ask(
            "restore", checkpoint.map { ["checkpoint": $0] } ?? [:], as: ClusterStatus.self)
        connection.print(status) { "going back to a checkpoint: \(status.state) \(status.reason)" }
    }
}
