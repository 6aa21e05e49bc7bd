import Cluster
import Determinism
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

/// Unusual sizes, against the formulas in double precision.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct EdgeTests {
    struct Case: Sendable, CustomStringConvertible {
        var description: String
        var configuration: HeadConfiguration
        var batch: Int
        var labels: Range<Int>?
    }

    static let cases: [Case] = {
        func head(_ classes: Int, _ size: Int, _ slices: Int, _ change: (inout HeadConfiguration) -> Void = { _ in })
            -> HeadConfiguration
        {
            var configuration = HeadConfiguration(
                classCount: classes, embeddingSize: size, sliceCount: slices, seed: 3, sampleRate: 0.3)
            change(&configuration)
            return configuration
        }
        return [
            Case(description: "fewer classes than slices", configuration: head(5, 8, 16), batch: 6),
            Case(description: "one class", configuration: head(1, 8, 4), batch: 4),
            Case(description: "one sample", configuration: head(40, 12, 4), batch: 1),
            Case(description: "embedding of one", configuration: head(40, 1, 4), batch: 4),
            Case(description: "one label for all", configuration: head(40, 12, 4), batch: 6, labels: 7..<8),
            Case(description: "all positives, rate 0", configuration: head(30, 12, 4) { $0.sampleRate = 0 }, batch: 24),
            Case(description: "filter", configuration: head(200, 6, 4) { $0.interclassFilter = 0.3 }, batch: 12),
            Case(
                description: "filter and ArcFace",
                configuration: head(200, 6, 4) { ($0.interclassFilter, $0.margins) = (0.2, .arcFace(0.3)) }, batch: 12),
            Case(
                description: "past π",
                configuration: head(60, 6, 8) { $0.margins = HeadMargins(m1: 2.3, m2: 1, m3: -0.2) },
                batch: 12),
            Case(
                description: "three tiles per slice",
                configuration: head(5000, 20, 2) { ($0.sampleRate, $0.scale) = (1, 30) }, batch: 8),
        ]
    }()

    @Test(arguments: cases) func agreesWithDoublePrecision(edge: Case) throws {
        let (features, labels) = makeBatch(edge.configuration, size: edge.batch, classes: edge.labels)
        var outcomes: [StepOutcome] = []
        for way in Spread.Way.allCases {
            let run = try HeadRun(
                edge.configuration,
                Spread(exchange: way, shards: 2, workers: 2, microBatchSize: edge.batch > 1 ? edge.batch / 2 : 1))
            var before: [Float] = []
            for shard in run.shards {
                try shard.begin(step: 0, microBatchSize: 1, labels: labels)
                before += try shard.read(ids: shard.sampledIDs).rows.array(Float.self)
                shard.rollback()
            }
            let outcome = try run.prepare(step: 0, features: features, labels: labels, learningRate: 0.1)
            let reference = Reference(
                edge.configuration, features: features.array(Float.self), labels: labels, ids: outcome.ids, rows: before
            )
            let loss = outcome.lossSums.reduce(0, +) / Double(labels.count)
            #expect(abs(loss - reference.loss) <= 1e-5 * max(1, reference.loss))
            // Gradients that are zero in theory (one dimension, one class) leave rounding.
            if edge.configuration.embeddingSize > 1 && edge.configuration.classCount > 1 {
                #expect(relativeError(outcome.featureGradient, reference.featureGradient) < 1e-4)
                #expect(relativeError(outcome.rowGradients, reference.rowGradients) < 1e-4)
            } else {
                #expect(outcome.featureGradient.allSatisfy { abs($0) < 1e-3 })
            }
            outcomes.append(outcome)
        }
        #expect(outcomes[0] == outcomes[1])
    }

    @Test func wellLearntSamplesKeepTheirLossAndGradient() throws {
        // Features almost on their centers: p rounds to 1 in single precision, loss and gradient are tiny and not zero.
        let configuration = HeadConfiguration(
            classCount: 64, embeddingSize: 32, sliceCount: 4, seed: 5, scale: 30, margins: .arcFace(0.2), sampleRate: 1)
        let run = try HeadRun(configuration, Spread(exchange: .features, shards: 2, workers: 1, microBatchSize: 4))
        let labels: [Int64] = [1, 20, 40, 63]
        let all = try run.shards.flatMap {
            try $0.read(ids: classes(of: $0)).rows.array(Float.self)
        }
        var random = KeyedRandom(seed: 8, purpose: .test)
        var features: [Float] = []
        for label in labels {
            for center in all[Int(label) * 32..<(Int(label) + 1) * 32] {
                let noise = Float(random.unit() - 0.5)
                features.append(center * 100 + noise * 0.1)
            }
        }
        let outcome = try run.prepare(
            step: 0, features: Tensor(features, shape: [4, 32]), labels: labels, learningRate: 0)
        let reference = Reference(configuration, features: features, labels: labels, ids: outcome.ids, rows: all)
        let loss = outcome.lossSums.reduce(0, +) / 4
        #expect(reference.loss < 1e-4 && reference.loss > 0)
        #expect(abs(loss / reference.loss - 1) < 1e-4)
        #expect(relativeError(outcome.featureGradient, reference.featureGradient) < 1e-4)
        #expect(relativeError(outcome.rowGradients, reference.rowGradients) < 1e-4)
    }

    @Test func aFeatureWithoutDirectionGetsNoGradient() throws {
        let configuration = HeadConfiguration(classCount: 20, embeddingSize: 8, sliceCount: 2, sampleRate: 1)
        let run = try HeadRun(configuration, Spread(exchange: .rows, shards: 1, workers: 1, microBatchSize: 2))
        let outcome = try run.prepare(
            step: 0, features: Tensor(zeros: Float.self, shape: [2, 8]), labels: [1, 2], learningRate: 0.1)
        #expect(outcome.featureGradient.allSatisfy { $0 == 0 })
        #expect(outcome.losses.allSatisfy { $0.isFinite })
    }
}
