internal import Dataset
internal import ParameterStore

/// What the operations on the classes make of a sample's label.
struct Relabeling: Sendable {
    let classes: ClassRegistry

    /// The class that samples with this label train, or nil if there is none: it is retired, or was not added yet.
    func label(_ original: Int) -> Int? {
        guard original < classes.classCount else { return nil }
        let label = classes.label(Int64(original))
        return classes.isRetired(label) ? nil : Int(label)
    }
}

/// A data set whose samples carry the labels that are trained. Those of samples without a class stay as they are: the data
/// order passes over these samples.
struct RelabeledDataset: ImageDataset {
    let base: any ImageDataset
    let relabeling: Relabeling

    var sampleCount: Int { base.sampleCount }
    var imageShape: ImageShape { base.imageShape }
    var classCount: Int { max(base.classCount, relabeling.classes.classCount) }
    var problems: [DatasetError] { base.problems }
    var opening: OpeningReport { base.opening }
    var fingerprint: UInt64 { base.fingerprint }
    var formerFingerprint: UInt64? { base.formerFingerprint }

    func image(at index: Int, into pixels: UnsafeMutableBufferPointer<UInt8>) throws(DatasetError) {
        try base.image(at: index, into: pixels)
    }

    func label(of index: Int) -> Int {
        let original = base.label(of: index)
        return relabeling.label(original) ?? original
    }

    func origin(of index: Int) -> String { base.origin(of: index) }
}
