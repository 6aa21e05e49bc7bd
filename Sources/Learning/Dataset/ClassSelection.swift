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
        let counts = base.samplesPerClass()
        let kept = counts.indices.filter { counts[$0] >= max(minimumImages, 1) && includes($0) }
        guard !kept.isEmpty else {
            throw DatasetError(
                .noSamples,
                "the selection leaves no class: of \(counts.count) classes none is included and has \(minimumImages) images or more"
            )
        }
        guard base.sampleCount <= Int(Int32.max) else {
            throw DatasetError(.invalidOption, "\(base.sampleCount) samples are more than a selection can index")
        }
        var newLabels = [Int32](repeating: -1, count: counts.count)
        for (new, old) in kept.enumerated() { newLabels[old] = Int32(new) }
        var samples: [Int32] = []
        var labels: [Int32] = []
        for index in 0..<base.sampleCount {
            let label = newLabels[base.label(of: index)]
            if label < 0 { continue }
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
        let counts = base.samplesPerClass()
        let eligible = counts.indices.filter { counts[$0] >= 2 }
        guard heldOutClasses > 0, heldOutClasses <= eligible.count, heldOutClasses < counts.count else {
            throw DatasetError(
                .invalidOption,
                "\(heldOutClasses) classes cannot be held out of \(counts.count), \(eligible.count) of which have two samples"
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
