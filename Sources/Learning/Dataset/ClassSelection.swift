internal import CKernels
internal import Determinism

/// Some classes of a data set, relabelled densely in ascending order of their old labels; samples keep their order.
public struct ClassSelection: ImageDataset {
    public let base: any ImageDataset
    public let fingerprint: UInt64
    public let formerFingerprint: UInt64?
    /// The label in `base` of each class.
    public let originalLabels: [Int]
    private let samples: [Int32]
    private let labels: [Int32]

    /// The classes of `base` for which `includes` is true and that have at least `minimumImages` samples.
    ///
    /// - Throws: `DatasetError` (`noSamples`) if nothing is left.
    public init(
        of base: any ImageDataset, minimumImages: Int = 1, where includes: (_ label: Int) -> Bool = { _ in true }
    ) throws(DatasetError) {
        let kept = Self.classes(of: base, minimumImages: minimumImages).filter(includes)
        guard !kept.isEmpty else {
            throw DatasetError(
                .noSamples,
                "the selection leaves no class: of \(base.classCount) classes none is included and has \(minimumImages) images or more"
            )
        }
        guard base.sampleCount <= Int(Int32.max) else {
            throw DatasetError(.invalidOption, "\(base.sampleCount) samples are more than a selection can index")
        }
        let newLabels = Dictionary(uniqueKeysWithValues: kept.enumerated().map { ($0.element, Int32($0.offset)) })
        var samples: [Int32] = []
        var labels: [Int32] = []
        for index in 0..<base.sampleCount {
            guard let label = newLabels[base.label(of: index)] else { continue }
            samples.append(Int32(index))
            labels.append(label)
        }
        self.base = base
        originalLabels = kept
        self.samples = samples
        self.labels = labels
        func sum(_ previous: UInt64) -> UInt64 {
            samples.withUnsafeBytes { pfc_image_checksum(previous, $0.baseAddress, $0.count) }
        }
        fingerprint = sum(base.fingerprint)
        formerFingerprint = base.formerFingerprint.map(sum)
    }

    /// Those with at least `minimumImages` samples, and one, ascending.
    private static func classes(of base: any ImageDataset, minimumImages: Int) -> [Int] {
        base.samplesPerClass().filter { $0.value >= minimumImages }.keys.sorted()
    }

    /// The classes `labels` of `base` with at least `minimumImages` samples: `0..<K` for the first K classes.
    ///
    /// - Throws: `DatasetError` (`noSamples`) if nothing is left.
    public init(of base: any ImageDataset, labels: Range<Int>, minimumImages: Int = 1) throws(DatasetError) {
        try self.init(of: base, minimumImages: minimumImages) { labels.contains($0) }
    }

    /// Cuts `base` into classes to train on and `heldOutClasses` others, chosen by a key among the classes with at least
    /// two samples.
    ///
    /// - Throws: `DatasetError` (`invalidOption`) if there are not enough classes.
    public static func split(
        _ base: any ImageDataset, heldOutClasses: Int, seed: UInt64
    ) throws(DatasetError) -> (training: ClassSelection, heldOut: ClassSelection) {
        let eligible = classes(of: base, minimumImages: 2)
        guard heldOutClasses > 0, heldOutClasses <= eligible.count, heldOutClasses < base.classCount else {
            throw DatasetError(
                .invalidOption,
                "\(heldOutClasses) classes cannot be held out of \(base.classCount), \(eligible.count) of which have two samples"
            )
        }
        let permutation = IndexPermutation(count: eligible.count, seed: seed, purpose: .heldOutSplit, word: 0)
        let heldOut = Set((0..<heldOutClasses).map { eligible[permutation[$0]] })
        return (
            try ClassSelection(of: base) { !heldOut.contains($0) },
            try ClassSelection(of: base) { heldOut.contains($0) }
        )
    }

    public var sampleCount: Int { samples.count }
    public var classCount: Int { originalLabels.count }
    public var imageShape: ImageShape { base.imageShape }
    public var problems: [DatasetError] { base.problems }
    public var opening: OpeningReport { base.opening }

    /// The index in `base` of sample `index`.
    public func originalIndex(of index: Int) -> Int { Int(samples[index]) }

    public func label(of index: Int) -> Int { Int(labels[index]) }

    public func origin(of index: Int) -> String { base.origin(of: originalIndex(of: index)) }

    public func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        try base.image(at: originalIndex(of: index), into: pixels)
    }
}
