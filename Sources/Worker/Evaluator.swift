import Configuration
import Dataset
import Determinism
import Model
import RunData
import Setup
import Tensors
import Verification

/// Verifies a backbone on the run's held-out identities and verification sets.
final class Evaluator: @unchecked Sendable {
    let sets: [VerificationSet]
    private let layout: ParameterLayout
    private let blocks: ParallelBlocks

    /// Opens the sets that the configuration names.
    ///
    /// - Throws: `DatasetError` if one cannot be read.
    init(setup: RunSetup, data: TrainingData, threads: Int) throws {
        let configuration = setup.configuration
        let shape = ImageShape(
            channels: configuration.data.channels, height: configuration.data.imageSize,
            width: configuration.data.width)
        var sets: [VerificationSet] = []
        if let heldOut = data.heldOut, configuration.evaluation.heldOutPairs > 0 {
            sets.append(
                try VerificationSet(
                    heldOut: heldOut, pairsPerKind: max(10, configuration.evaluation.heldOutPairs / 2),
                    seed: configuration.seed, flips: configuration.data.flip))
        }
        for path in configuration.evaluation.sets {
            var set = try VerificationSet(binPath: path, imageShape: shape)
            set.flips = configuration.data.flip
            sets.append(set)
        }
        self.sets = VerificationSet.distinguished(sets)
        layout = setup.layout
        blocks = ParallelBlocks(threads: threads)
    }

    /// Evaluates parameters f32 [P] on every set. One call at a time.
    ///
    /// - Throws: `DatasetError` or `BackboneError`.
    func evaluate(_ parameters: Tensor) throws -> [VerificationReport] {
        // As `worker evaluate` computes it, and gone afterwards: the memory of a training network is a multiple.
        let network = try EmbeddingNetwork(layout, parameters, blocks: blocks)
        var options = EvaluationOptions()
        options.batchSize = EmbeddingNetwork.batchSize * blocks.threads
        options.layout = .nhwc
        options.threads = blocks.threads
        options.badSamples = .skip
        return try sets.map { set in
            try set.evaluate(options: options) { try network.embed($0) }
        }
    }
}

extension VerificationReport {
    /// The figures that the coordinator shows: those that there are.
    var figures: [String: Double] {
        var figures: [String: Double] = [:]
        figures["accuracy"] = accuracy
        figures["auc"] = auc
        for point in operating { figures["tar@far=\(point.far)"] = point.tar }
        return figures
    }
}
