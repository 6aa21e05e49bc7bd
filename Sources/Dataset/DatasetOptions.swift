/// How a data set is opened.
public struct DatasetOptions: Sendable, Hashable, Codable {
    /// The shape that images are converted and resized to; the data set's own shape if nil.
    public var imageShape: ImageShape?
    /// What happens to samples that are found bad while opening.
    public var badSamples = BadSamplePolicy.fatal

    public init(imageShape: ImageShape? = nil, badSamples: BadSamplePolicy = .fatal) {
        self.imageShape = imageShape
        self.badSamples = badSamples
    }
}

/// Collects what is wrong while a data set is opened, or throws the first of it.
struct ProblemList {
    let policy: BadSamplePolicy
    private(set) var problems: [DatasetError] = []

    init(policy: BadSamplePolicy) { self.policy = policy }

    /// - Throws: `error` if bad samples are fatal.
    mutating func report(_ error: DatasetError) throws(DatasetError) {
        if policy == .fatal { throw error }
        problems.append(error)
    }
}
