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
            Golden.self, Equivalence.self, Recovery.self, Chaos.self, Elastic.self, Durability.self, Restart.self,
            Move.self, Fuzz.self, Bench.self, Serving.self,
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

    /// Prints at once, also into a pipe.
    static func say(_ text: String) {
        print(text)
        fflush(nil)
    }
}
