import Dataset
import Tensors
import Verification

/// Verification sets of pairs, from the options that name them.
struct PairSets {
    let sets: [VerificationSet]
    private let flips: Bool
    private let skipsMissing: Bool
    private let preprocessing: Preprocessing
    private let threads: Int

    /// - Parameters:
    ///   - bins: InsightFace's files.
    ///   - pairs: a list and the folder of its images.
    /// - Throws: `DatasetError` if a set cannot be read.
    init(
        bins: [String], pairs: (list: String, images: String)?, shape: ImageShape, flips: Bool, skipsMissing: Bool,
        preprocessing: Preprocessing, threads: Int
    ) throws {
        var sets = try bins.map { try VerificationSet(binPath: $0, imageShape: shape) }
        if let pairs {
            sets.append(
                try VerificationSet(
                    pairsPath: pairs.list, imagesIn: pairs.images, imageShape: shape,
                    missing: skipsMissing ? .skip : .fatal))
        }
        self.sets = VerificationSet.distinguished(sets)
        (self.flips, self.skipsMissing, self.preprocessing, self.threads) = (
            flips, skipsMissing, preprocessing, threads
        )
    }

    /// - Parameter embed: images f32 [n, height, width, channels], at most `batchSize`, to f32 [n, D].
    func evaluate(batchSize: Int, embed: (Tensor) throws -> Tensor) throws -> [VerificationReport] {
        var options = EvaluationOptions()
        options.batchSize = batchSize
        options.layout = .nhwc
        options.threads = threads
        options.badSamples = skipsMissing ? .skip : .fatal
        options.preprocessing = preprocessing
        return try sets.map { set in
            var set = set
            set.flips = flips
            return try set.evaluate(options: options, embed: embed)
        }
    }
}
