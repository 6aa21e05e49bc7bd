import ClusterHarness
import Foundation
import TestSupport
import Testing

/// The golden cases through real processes over ZeroMQ.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct GoldenProcessTests {
    private static let cases = (try? GoldenCase.all(in: GoldenCase.directory)) ?? []

    @Test(
        .enabled(if: !cases.isEmpty, "there are no golden cases in GOLDEN_DIR (default ../shared/golden)"),
        arguments: cases.map(\.name), ["features", "rows"])
    func processesGiveTheAnswers(name: String, exchange: String) throws {
        let golden = try #require(Self.cases.first { $0.name == name })
        // The least and the largest world, and one of the others in turn: `make golden` runs all of them.
        let index = Self.cases.firstIndex { $0.name == name } ?? 0
        for (shards, workers) in [(1, 1), (3, 2), [(2, 1), (3, 1), (1, 2), (2, 2)][index % 4]] {
            let errors = try withDirectory {
                try golden.run(exchange: exchange, shards: shards, workers: workers, in: $0)
            }
            #expect(errors.largest <= 1e-4, "\(name), \(exchange), \(shards) shards, \(workers) workers: \(errors)")
        }
    }
}
