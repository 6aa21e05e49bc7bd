import Cluster
import Foundation
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20)), .serialized, .enabled(if: GoldenCase.isAvailable))
struct GoldenTests {
    static let quantities = ["loss", "logZ", "target", "∂x", "∂w", "momentum", "centers"]

    /// Errors of a step against the file, in the order of `quantities`.
    static func errors(_ golden: GoldenCase, _ outcome: StepOutcome) throws -> [Double] {
        let loss = outcome.lossSums.reduce(0, +) / Double(outcome.losses.count)
        return [
            relativeError([loss], try golden.doubles("loss")),
            relativeError(outcome.logZ, try golden.doubles("log_normalizer")),
            relativeError(outcome.targetLogit, try golden.doubles("target_logit")),
            relativeError(outcome.featureGradient, try golden.doubles("grad_features")),
            relativeError(outcome.rowGradients, try golden.doubles("grad_centers")),
            relativeError(outcome.momentum, try golden.doubles("updated_momentum")),
            relativeError(outcome.rows, try golden.doubles("updated_centers")),
        ]
    }

    static func spreads(batch: Int) -> [Spread] {
        let sizes = Set((1...batch).filter { batch % $0 == 0 }).sorted()
        return Spread.Way.allCases.flatMap { way in
            [(1, 1, false), (2, 1, false), (3, 2, true), (1, 2, false)].flatMap { shards, workers, scattered in
                sizes.map {
                    Spread(
                        exchange: way, shards: shards, workers: workers, microBatchSize: $0, threads: 2,
                        scattered: scattered)
                }
            }
        }
    }

    @Test(arguments: GoldenCase.names) func matchesTheFormulas(name: String) throws {
        let golden = try GoldenCase(name)
        let (labels, sampled) = (try golden.labels, try golden.sampled)
        var worst = Self.quantities.map { _ in 0.0 }
        for slices in [1, 16] {
            let configuration = try golden.configuration(slices: slices)
            for spread in Self.spreads(batch: labels.count) {
                let run = try HeadRun(configuration, spread, source: .safeTensors(path: golden.path))
                let outcome = try run.prepare(
                    step: 0, features: golden.features, labels: labels, learningRate: Float(try golden.number("lr")),
                    sampled: sampled)
                #expect(outcome.ids == sampled)
                let errors = try Self.errors(golden, outcome)
                for (quantity, error) in zip(Self.quantities, errors) {
                    #expect(
                        error < 1e-4, "\(quantity) of \(name), \(slices) slices, \(spread): relative error \(error)")
                }
                worst = zip(worst, errors).map { max($0, $1) }
                // Rows that were not sampled have not changed in any way.
                let others = Set(0..<Int64(configuration.classCount)).subtracting(sampled).sorted()
                let centers = try golden.file.tensor("centers", .f32, in: golden.path)
                for shard in run.shards {
                    let slices = shard.activeSlices
                    let ids = others.filter { slices.contains(shard.table.layout.slice(ofClass: Int($0))) }
                    let size = configuration.embeddingSize
                    let expected = ids.flatMap { centers.buffer(Float.self)[Int($0) * size..<(Int($0) + 1) * size] }
                    #expect(try shard.read(ids: ids).rows.array(Float.self) == expected)
                }
            }
        }
        let columns = zip(Self.quantities, worst).map { "\($0) \(String(format: "%.1e", $1))" }
        print("largest errors \(name): \(columns.joined(separator: "  "))")
    }
}
