public import ArgumentParser
import ProcessSupport

/// The worker and the tools that go with it.
public struct WorkerCommand: ParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "worker",
        abstract: "Train a backbone with a sharded margin-softmax head, and evaluate what was trained.",
        version: programVersion,
        subcommands: [
            Train.self, Evaluate.self, Embed.self, Identify.self, Export.self, Quantize.self, GlyphsCommand.self,
        ])

    public init() {}
}
