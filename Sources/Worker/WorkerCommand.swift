import ArgumentParser

/// The worker and the tools that go with it.
@main
struct WorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker",
        abstract: "Train a backbone with a sharded margin-softmax head, and evaluate what was trained.",
        version: "0.1.0",
        subcommands: [Train.self, Evaluate.self, Glyphs.self])
}
