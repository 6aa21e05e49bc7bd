import ArgumentParser
import ClusterHarness
import Foundation

/// Experiments with clusters of real processes on this machine.
@main
struct Experiments: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "experiments",
        abstract: "Measure and prove what the README says, with real processes on this machine.",
        subcommands: [
            Golden.self, Equivalence.self, Recovery.self, Chaos.self, ChaosLoss.self, Elastic.self, Durability.self,
            Restart.self, Loss.self,
            Move.self, Fuzz.self, FuzzONNX.self, Bench.self, Head.self, BackboneCommand.self, InferenceCommand.self,
            Serving.self,
            LimitsCommand.self, SamplingCommand.self,
            WorldsCommand.self, TableFile.self, TenMillion.self, Quality.self, SmallUpdates.self, Security.self,
            PowerCut.self, Partitions.self, Hostile.self, Shares.self,
        ])

    /// A new directory for a cluster; removed by nobody, so that logs can be read.
    static func directory(_ name: String) -> URL {
        FileManager.default.temporaryDirectory.appending(
            path: "partialfc-experiments/\(name)-\(UUID().uuidString.prefix(8))")
    }

    /// The middle of some figures; of an even number the higher one.
    static func median(_ values: [Double]) -> Double {
        values.isEmpty ? .nan : values.sorted()[values.count / 2]
    }

    /// The median of the seconds that `body` takes.
    static func medianSeconds(of repetitions: Int, _ body: () throws -> Void) rethrows -> Double {
        median(try (0..<repetitions).map { _ in try ContinuousClock().measure(body) / .seconds(1) })
    }

    /// Prints an object for other programs.
    static func sayJSON(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        say(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// Says what goes on, beside the output.
    static func note(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

    /// Prints at once, also into a pipe.
    static func say(_ text: String) {
        print(text)
        fflush(nil)
    }
}
