import ArgumentParser
import Foundation
import OperatorStatus
import ProcessSupport

/// `coordinator cancel`.
struct Cancel: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Call off what is under way and cannot end: a task of the shards, an order, the results.",
        discussion: """
            Shows the task, which shards have not done it and why. A checkpoint, a hand-over and an order that is being checked are simply \
            given up. A change of the classes is taken back: every shard goes to the classes before it, by its log, and training goes on \
            without it. The results of a finished run are given up: no backbone is written. A skipped step and going back cannot be called \
            off: exit code 65.
            """)
    @Flag(help: "Show what would be called off, and change nothing.") var dryRun = false
    @OptionGroup var connection: Connection

    func run() throws {
        let before = try connection.status()
        if !connection.json { Swift.print(Self.text(before)) }
        if dryRun {
            if connection.json { connection.print(before) { "" } }
            return
        }
        let status = try connection.ask("cancel", as: ClusterStatus.self)
        connection.print(status) { "called off; \(status.state) \(status.reason)" }
    }

    private static func text(_ status: ClusterStatus) -> String {
        guard let task = status.task else {
            return status.reason.isEmpty ? "the shards have no task" : "the shards have no task; \(status.reason)"
        }
        var lines = ["\(task.kind) after step \(task.step)"]
        for shard in task.pending {
            lines.append("  \(shard) has not done it" + (task.problems[shard].map { ": \($0)" } ?? ""))
        }
        return lines.joined(separator: "\n")
    }
}
