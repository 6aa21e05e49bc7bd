internal import CKernels
internal import Determinism
internal import Model
internal import Tensors

/// The arithmetic of (micro-batch, slice) blocks, the same on a shard (`features`) and on a worker (`rows`).
///
/// Holds the scratch memory of its threads; one caller at a time.
final class SoftmaxBlocks {
    let configuration: HeadConfiguration
    let parallel: ParallelBlocks
    private var scratch: [ReusableTensor]
    var packPool = ReusableTensor()
    var secondPackPool = ReusableTensor()

    init(configuration: HeadConfiguration, threads: Int) {
        BLAS.prepare()
        self.configuration = configuration
        parallel = ParallelBlocks(threads: threads)
        scratch = Array(repeating: ReusableTensor(), count: threads)
    }

    /// Scratch memory of a layout for every thread.
    func threadScratch(_ layout: ScratchLayout) -> [Tensor] { threadScratch(layout.floatCount) }

    /// Float scratch of `count` elements for every thread.
    func threadScratch(_ count: Int) -> [Tensor] {
        scratch.indices.map { scratch[$0].next(Float.self, shape: [max(count, 1)]) }
    }

    /// The partial softmax of every sample over each slice by itself.
    ///
    /// - Parameters:
    ///   - positions: of the slices in `rows.slices`.
    ///   - slots: where the results go, by position in `rows.slices`.
    ///   - kept: where the cosines go, if they are kept for `gradient`.
    func forward(
        samples: SampleSet, rows: SampledRows, positions: Range<Int>, slots: [PartialSlot], kept: KeptCosines? = nil
    ) {
        switch configuration.compute {
        case .f32: forwardF32(samples: samples, rows: rows, positions: positions, slots: slots, kept: kept)
        case .bf16: forwardBF16(samples: samples, rows: rows, positions: positions, slots: slots, kept: kept)
        case .fma: forwardFMA(samples: samples, rows: rows, positions: positions, slots: slots, kept: kept)
        }
        kept?.note(samples)
    }

    /// Some rows of a slice, with their gradient.
    struct GradientTile {
        /// Position of the slice in `rows.slices`.
        var position: Int
        /// Rows of the slice.
        var rows: Range<Int>
        /// Index of the node whose micro-batches are summed.
        var node: Int
        /// H [rows.count, D]; may be overwritten.
        var values: UnsafeMutablePointer<Float>
    }

    /// The memory that is read to update some rows of the slice at a position.
    typealias Upcoming = @Sendable (_ position: Int, _ rows: Range<Int>) -> [pfc_piece]

    /// The row gradients H of every slice, summed along the tree over micro-batches up to each of `nodes`, tile by tile.
    ///
    /// - Parameters:
    ///   - logZ: of each sample.
    ///   - kept: cosines that `forward` has kept.
    ///   - rounding: of every node, if they are rounded.
    ///   - upcoming: what `consume` reads.
    ///   - consume: is called once for every tile and node, by any thread.
    func gradient(
        samples: SampleSet, rows: SampledRows, logZ: Normalizers, tree: ReductionTree, nodes: [ReductionTree.Node],
        kept: KeptCosines? = nil, rounding: GradientRounding? = nil, upcoming: Upcoming? = nil,
        consume: @Sendable (_ tile: GradientTile, _ thread: Int) -> Void
    ) {
        switch configuration.compute {
        case .f32:
            gradientF32(
                samples: samples, rows: rows, logZ: logZ, tree: tree, nodes: nodes, kept: kept, rounding: rounding,
                consume: consume)
        case .bf16:
            gradientBF16(
                samples: samples, rows: rows, logZ: logZ, tree: tree, nodes: nodes, kept: kept, rounding: rounding,
                consume: consume)
        case .fma:
            gradientFMA(
                samples: samples, rows: rows, logZ: logZ, tree: tree, nodes: nodes, kept: kept, rounding: rounding,
                upcoming: upcoming, consume: consume)
        }
    }
}
