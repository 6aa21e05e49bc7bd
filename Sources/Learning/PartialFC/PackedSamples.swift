internal import CKernels
internal import Determinism
internal import Model
internal import Tensors

/// The directions of samples in bf16, in the orders in which the kernels read them: see `bf16.h`.
final class PackedSamples: @unchecked Sendable {
    /// Samples of a micro-batch, rounded up to whole vectors.
    let lanes: Int
    private let size: Int
    private let memory: Tensor

    /// Which of the two orders.
    enum Order {
        /// Pairs of dimensions, for the products with rows.
        case dimensions
        /// Pairs of samples, for the row gradients.
        case samples
    }

    init(_ samples: SampleSet, order: Order, pool: inout ReusableTensor, parallel: ParallelBlocks) {
        let (g, size) = (samples.microBatchSize, samples.embeddingSize)
        let lanes = Self.lanes(g)
        (self.lanes, self.size) = (lanes, size)
        memory = pool.next(Int32.self, shape: [samples.microBatches.count * size / 2 * lanes])
        parallel.forEach(samples.microBatches.count) { [self] index, _ in
            let directions = samples.normalized.pointer(Float.self) + index * g * size
            switch order {
            case .dimensions: pfc_bf16_pack_dimensions(directions, g, lanes, size, self[index])
            case .samples: pfc_bf16_pack_samples(directions, g, lanes, size, self[index])
            }
        }
    }

    static func lanes(_ microBatchSize: Int) -> Int {
        let width = Int(pfc_bf16_lanes)
        return (microBatchSize + width - 1) / width * width
    }

    /// The directions of the micro-batch at `index` among those of the samples.
    subscript(index: Int) -> UnsafeMutablePointer<UInt32> {
        memory.rawPointer.assumingMemoryBound(to: UInt32.self) + index * size / 2 * lanes
    }
}
