import ClusterHarness
import Foundation
import OperatorStatus
import TestSupport
import Testing

@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct EvaluationTests {
    /// Trains a few steps and returns the figures of the evaluation after the last one.
    private func figures(every: Int, _ data: URL, in directory: URL) throws -> [String: Double] {
        let steps = 12
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.stop() }
        try cluster.start(
            configuration: folderTraining(data, steps: steps),
            settings: [
                "data.held_out_classes=380", "evaluation.held_out_pairs=2000", "evaluation.every=\(every)",
            ], world: .init(shards: 1, workers: 1))
        let status = try cluster.waitForStatus("the last step is evaluated", seconds: 120) {
            $0.evaluations.contains { $0.step == steps - 1 }
        }
        return try #require(status.evaluations.first).values
    }

    /// The evaluation after the last step waits for one that began just before and takes much longer than a step: both use one network.
    @Test func theLastOneIsNotDisturbedByTheOneBefore() throws {
        try withDirectory { directory in
            let data = try SyntheticData.writeFolder(to: directory, identities: 400)
            let alone = try figures(every: 0, data, in: directory.appending(path: "alone"))
            let after = try figures(every: 11, data, in: directory.appending(path: "after"))
            #expect(alone.isEmpty == false && alone == after)
        }
    }
}
