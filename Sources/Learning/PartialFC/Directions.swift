internal import CKernels
internal import Determinism
internal import Model
internal import Tensors

/// The directions of samples in single precision, in the orders in which the kernels of `fma.h` read them.
final class Directions: @unchecked Sendable {
    /// Samples of a micro-batch, rounded up to whole vectors.
    let lanes: Int
    private let length: Int
    private let memory: Tensor

    /// Which of the two orders.
    enum Order {
        /// By dimension, for the products with rows.
        case dimensions
        /// By sample, for the row gradients.
        case samples
    }

    init(_ samples: SampleSet, order: Order, pool: inout ReusableTensor, parallel: ParallelBlocks) {
        let (g, size) = (samples.microBatchSize, samples.embeddingSize)
        let lanes = Self.lanes(g)
        self.lanes = lanes
        length = order == .dimensions ? lanes * size : g * ((size + 15) / 16 * 16)
        memory = pool.next(Float.self, shape: [samples.microBatches.count * length])
        parallel.forEach(samples.microBatches.count) { [self] index, _ in
            let directions = samples.normalized.pointer(Float.self) + index * g * size
            switch order {
            case .dimensions: pfc_fma_pack_dimensions(directions, g, lanes, size, self[index])
            case .samples: pfc_fma_pack_samples(directions, g, size, self[index])
            }
        }
    }

    static func lanes(_ microBatchSize: Int) -> Int {
        let width = Int(pfc_fma_lanes)
        return (microBatchSize + width - 1) / width * width
    }

    /// The directions of the micro-batch at `index` among those of the samples.
    subscript(index: Int) -> UnsafeMutablePointer<Float> { memory.pointer(Float.self) + index * length }
}
