/// Images that can be decoded by index, from any thread.
public protocol ImageSource: Sendable {
    /// Number of images.
    var sampleCount: Int { get }
    /// The shape of every image after decoding.
    var imageShape: ImageShape { get }

    /// Decodes image `index` in 0..<sampleCount to 8-bit pixels, height × width × channels (channels interleaved).
    ///
    /// - Parameter pixels: `imageShape.count` bytes.
    /// - Throws: `DatasetError` with the index of a sample that cannot be read or decoded.
    func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError)

    /// Where image `index` comes from, for messages: a file name, a record key, a character and its font.
    func origin(of index: Int) -> String
}

/// Labelled images: sample i is an image of class `label(of: i)`.
///
/// Samples keep their indices for as long as the data set lives. Every method may be called from any thread.
public protocol ImageDataset: ImageSource {
    /// Number of classes; labels are in 0..<classCount.
    var classCount: Int { get }
    /// Bad samples that were left out when the data set was opened, in file order: the first of them.
    var problems: [DatasetError] { get }
    /// Everything that was found when the data set was opened.
    var opening: OpeningReport { get }
    /// A number that differs when samples, labels or sizes differ: workers of one run compare it before they start.
    var fingerprint: UInt64 { get }
    /// What earlier versions gave as `fingerprint` for these data, if that was another number: still accepted.
    var formerFingerprint: UInt64? { get }

    /// The class of sample `index`.
    func label(of index: Int) -> Int
}

extension ImageDataset {
    public var opening: OpeningReport { OpeningReport(problems: problems) }
    public var formerFingerprint: UInt64? { nil }

    /// Number of samples of each class that has some: a file may claim any number of classes.
    public func samplesPerClass() -> [Int: Int] {
        var counts: [Int: Int] = [:]
        for index in 0..<sampleCount { counts[label(of: index), default: 0] += 1 }
        return counts
    }
}
