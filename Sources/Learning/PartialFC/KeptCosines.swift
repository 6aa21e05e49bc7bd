internal import CKernels
internal import Model
internal import Tensors

/// The cosines of a step's forward pass, or the products f32 that they are made of, kept for its row gradients so that they are not
/// computed twice.
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

    /// Room for `microBatchCount` micro-batches of `microBatchSize` samples and `rowCount` rows, nil if that is too much.
    init?(
        _ compute: Compute, microBatchCount: Int, microBatchSize: Int, rowCount: Int, pool: inout ReusableTensor
    ) {
        lanes =
            switch compute {
            case .f32: microBatchSize
            case .bf16: PackedSamples.lanes(microBatchSize)
            case .fma: Directions.lanes(microBatchSize)
            }
        let size = compute == .bf16 ? MemoryLayout<pfc_cosine>.stride : MemoryLayout<Float>.stride
        let (count, overflow) = (microBatchCount * lanes).multipliedReportingOverflow(by: max(rowCount, 1))
        guard !overflow, count <= Self.byteLimit / size else { return nil }
        self.rowCount = rowCount
        memory = pool.next(UInt8.self, shape: [count * size])
        features = Array(repeating: nil, count: microBatchCount)
    }

    /// The cosines [rows, lanes] of a micro-batch, from row `row` of the step on.
    func cosines(microBatch: Int, row: Int) -> UnsafeMutablePointer<pfc_cosine> {
        memory.rawPointer.assumingMemoryBound(to: pfc_cosine.self) + (microBatch * rowCount + row) * lanes
    }

    /// The products [g, n] of a micro-batch and a tile of n rows that begins with row `row` of the step; or, by fused multiply-adds,
    /// the cosines [n, lanes].
    func products(microBatch: Int, row: Int) -> UnsafeMutablePointer<Float> {
        memory.rawPointer.assumingMemoryBound(to: Float.self) + (microBatch * rowCount + row) * lanes
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
        return known.withBytes { known in now.withBytes { known.elementsEqual($0) } }
    }
}
