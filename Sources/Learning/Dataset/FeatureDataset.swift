internal import CKernels
public import Tensors

/// Stored embeddings with labels, for training a head alone: a safetensors file with `features` [n, D] of real numbers and
/// `labels` [n] of integers. Other tensors in it do not matter.
public struct FeatureDataset: Sendable {
    /// f32 [n, D].
    public let features: Tensor
    /// i64 [n].
    public let labels: Tensor
    /// Number of classes: one more than the largest label, or what was given.
    public let classCount: Int
    /// A number that differs when features or labels differ.
    public let fingerprint: UInt64

    /// Reads `path`.
    ///
    /// - Parameter classCount: the number of classes if it is more than the labels show.
    /// - Throws: `DatasetError` if the file is not such a file, or a label is negative or not below `classCount`.
    public init(path: String, classCount: Int? = nil) throws(DatasetError) {
        let features: Tensor
        let labels: Tensor
        do {
            let file = try SafeTensorsFile(path)
            features = try file.floats("features")
            labels = try Self.labels(file)
        } catch {
            throw DatasetError(.malformedFile, path: error.path, error.problem)
        }
        guard features.shape.count == 2, labels.shape == [features.shape[0]], features.shape[1] > 0 else {
            throw DatasetError(
                .malformedFile, path: path,
                "has features of shape \(features.shape) and labels of shape \(labels.shape); expected [n, D] and [n]")
        }
        guard features.shape[0] > 0 else { throw DatasetError(.noSamples, path: path, "has no samples") }
        let limit = Int64(classCount ?? Int(Int32.max))
        for (index, label) in labels.buffer(Int64.self).enumerated() where label < 0 || label >= limit {
            throw DatasetError(
                .labelOutOfRange, path: path, index: index, "has label \(label), which is not in 0..<\(limit)")
        }
        self.features = features
        self.labels = labels
        self.classCount = classCount ?? Int(labels.buffer(Int64.self).max() ?? 0) + 1
        fingerprint = pfc_image_checksum(
            pfc_image_checksum(0, features.rawPointer, features.byteCount), labels.rawPointer, labels.byteCount)
    }

    /// The labels as i64.
    private static func labels(_ file: SafeTensorsFile) throws(SafeTensorsError) -> Tensor {
        if let entry = file.entries["labels"], entry.dtype == .i32 {
            return Tensor(try file.tensor(entry).array(Int32.self).map { Int64($0) }, shape: entry.shape)
        }
        return try file.tensor(file.entry("labels", .i64))
    }

    /// Number of samples.
    public var sampleCount: Int { features.shape[0] }
    /// D.
    public var embeddingSize: Int { features.shape[1] }

    /// Features f32 [k, D] and labels i64 [k] of the samples `indices`, in their order.
    public func samples(_ indices: [Int]) -> (features: Tensor, labels: Tensor) {
        let chosen = Tensor(uninitialized: Float.self, shape: [indices.count, embeddingSize])
        let source = labels.buffer(Int64.self)
        for (row, index) in indices.enumerated() {
            precondition(index >= 0 && index < sampleCount, "sample \(index) of \(sampleCount)")
            (chosen.rawPointer + row * embeddingSize * 4).copyMemory(
                from: features.rawPointer + index * embeddingSize * 4, byteCount: embeddingSize * 4)
        }
        return (chosen, Tensor(indices.map { source[$0] }))
    }
}
