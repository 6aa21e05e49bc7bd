import ArgumentParser
import ClusterHarness
import Foundation
import ProcessSupport

/// `experiments golden`.
struct Golden: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compute the golden cases with real processes, in both exchanges, and print the largest errors.")

    @Option(help: "The directory of the golden cases.")
    var directory = GoldenCase.directory

    @Option(help: "The largest relative error (Frobenius norm) that is accepted.")
    var tolerance = 1e-4

    func run() throws {
        let cases = try GoldenCase.all(in: directory)
        guard !cases.isEmpty else { throw ValidationError("\(directory) has no golden case; set GOLDEN_DIR") }
        var table = TextTable(["case", "exchange", "shards", "workers", "loss", "dx", "dw", "momentum", "centers"])
        var largest = 0.0
        for golden in cases {
            for exchange in ["features", "rows"] {
                for (shards, workers) in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)] {
                    let errors = try golden.run(
                        exchange: exchange, shards: shards, workers: workers, in: Experiments.directory("golden"))
                    largest = max(largest, errors.largest)
                    table.add(
                        [golden.name, exchange, "\(shards)", "\(workers)"]
                            + [
                                errors.loss, errors.featureGradient, errors.centerGradient, errors.updatedMomentum,
                                errors.updatedCenters,
                            ].map { String(format: "%.1e", $0) })
                }
            }
        }
        Experiments.say(table.render())
        Experiments.say(String(format: "largest relative error of all: %.1e", largest))
        if !(largest <= tolerance) { throw ExitCode(1) }
    }
}
