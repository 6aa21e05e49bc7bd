internal import CKernels
internal import Tensors

/// The cosines of a step's forward pass, kept for its row gradients so that they are not computed twice.
///
/// Each is a function of one row and one sample, so that it is no matter who keeps them and whether.
final class KeptCosines: @unchecked Sendable {
    /// More than this are computed again instead, in bytes.
    static let byteLimit = 512 << 20

    private let rowCount: Int
    private let lanes: Int
    private let memory: Tensor
    /// The features that the cosines of a micro-batch are of; nil if they are not there.
    private var features: [Tensor?]

    /// Room for `microBatchCount` micro-batches of `lanes` lanes and `rowCount` rows, nil if that is too much.
    init?(microBatchCount: Int, lanes: Int, rowCount: Int, pool: inout ReusableTensor) {
        let (count, overflow) = (microBatchCount * lanes).multipliedReportingOverflow(by: max(rowCount, 1))
        guard !overflow, count <= Self.byteLimit / MemoryLayout<pfc_cosine>.stride else { return nil }
        self.rowCount = rowCount
        self.lanes = lanes
        memory = pool.next(UInt16.self, shape: [count])
        features = Array(repeating: nil, count: microBatchCount)
    }

    /// The cosines [rows, lanes] of a micro-batch, from row `row` of the step on.
    func cosines(microBatch: Int, row: Int) -> UnsafeMutablePointer<pfc_cosine> {
        memory.rawPointer.assumingMemoryBound(to: pfc_cosine.self) + (microBatch * rowCount + row) * lanes
    }

    /// Notes that the cosines of the micro-batches of `samples` are there.
    func note(_ samples: SampleSet) {
        for (index, microBatch) in samples.microBatches.enumerated() {
            let first = index * samples.microBatchSize
            features[microBatch] = samples.features.rows(first..<first + samples.microBatchSize)
        }
    }

    /// Whether the cosines of a micro-batch are there, and are those of these features.
    func has(_ microBatch: Int, of samples: SampleSet) -> Bool {
        guard let known = features[microBatch] else { return false }
        let first = (microBatch - samples.microBatches.lowerBound) * samples.microBatchSize
        let now = samples.features.rows(first..<first + samples.microBatchSize)
        return withExtendedLifetime((known, now)) {
            UnsafeRawBufferPointer(start: known.rawPointer, count: known.byteCount)
                .elementsEqual(UnsafeRawBufferPointer(start: now.rawPointer, count: now.byteCount))
        }
    }
}
