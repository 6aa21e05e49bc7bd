public import ArgumentParser
import ProcessSupport

/// The coordinator and the operator's commands.
public struct CoordinatorCommand: ParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "coordinator",
        abstract: "Plans the steps of a training cluster, and tells what it does.",
        discussion: """
            `serve` runs the coordinator. `keys`, `verify`, `backup`, `restore-backup` and `import` work on files, and `health` asks a \
            process over HTTP. The other commands ask or tell a running coordinator: they take --coordinator, --timeout, --json and \
            keys, and exit with 0 on success, 1 if the run has failed, and 69 if no coordinator answers.
            """,
        version: programVersion,
        subcommands: [
            Serve.self, Status.self, Top.self, Watch.self, Shards.self, Workers.self, Alive.self, Health.self,
            Slices.self, Hashes.self, Events.self, Pause.self, Resume.self, Stop.self, SetValue.self,
            Checkpoint.self, Checkpoints.self, Restore.self, Verify.self, Backup.self, RestoreBackup.self,
            Export.self, Import.self, Drain.self, Undrain.self, RebalanceCommand.self, Forget.self, Classes.self,
            Cancel.self, Promote.self,
            Center.self, Neighbors.self, Conflicts.self, Norms.self, Keys.self,
        ])

    public init() {}
}
