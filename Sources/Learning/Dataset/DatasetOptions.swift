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
