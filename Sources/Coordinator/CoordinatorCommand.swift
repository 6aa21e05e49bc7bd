import ArgumentParser

/// The coordinator and the operator's commands.
@main
struct CoordinatorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "coordinator",
        abstract: "Plans the steps of a training cluster, and tells what it does.",
        discussion: """
            `serve` runs the coordinator; the other commands ask or tell a running one. They exit with 0 on success, 1 \
            if the run has failed, and 69 if no coordinator answers.
            """,
        version: "0.1.0",
        subcommands: [
            Serve.self, Status.self, Shards.self, Workers.self, Slices.self, Watch.self, Hashes.self, Pause.self,
            Resume.self,
            Stop.self,
        ])
}
