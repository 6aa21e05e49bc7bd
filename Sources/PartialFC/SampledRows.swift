internal import CKernels
internal import CenterStore
internal import Determinism
internal import Tensors

/// The sampled rows of one or more shards, slice by slice: what the blocks multiply features with.
///
/// An object, so that whoever uses the pointers of a slice holds the tensors that they point into.
final class SampledRows: @unchecked Sendable {
    /// One slice's sampled rows: pointers that are valid as long as the `SampledRows`.
    struct Slice {
        /// Number of the slice.
        var number: Int
        /// Class ids, ascending.
        var ids: UnsafeBufferPointer<Int64>
        /// w [ids.count, D].
        var rows: UnsafePointer<Float>
        /// 1/|w|.
        var inverseNorms: UnsafePointer<Float>
        /// Which part (shard) it came from, and its first row there.
        var part: Int
        var offset: Int
    }

    /// What one shard holds: the sampled count of each of its slices, ids [S] and rows [S, D].
    struct Part {
        var slices: [Int]
        var counts: [Int]
        var ids: Tensor
        var rows: Tensor
    }

    let layout: SliceLayout
    let embeddingSize: Int
    /// Slices in the order of the parts; includes empty ones.
    let slices: [Slice]
    /// Position in `slices` by number of the slice.
    let positionOfSlice: [Int: Int]
    private let parts: [Part]
    private let inverseNorms: [Tensor]

    /// Rows are cut into tiles of this many: no more logits than a micro-batch times a tile exist at a time. Part of the
    /// arithmetic: another size gives other bits.
    static let tileRows = 1024

    /// Takes the parts as they are (counts must fit the tensors) and computes the norms.
    init(layout: SliceLayout, embeddingSize: Int, parts: [Part], parallel: ParallelBlocks) {
        self.layout = layout
        self.embeddingSize = embeddingSize
        self.parts = parts
        inverseNorms = parts.map { Tensor(uninitialized: Float.self, shape: [$0.rows.shape[0]]) }
        var slices: [Slice] = []
        for (index, part) in parts.enumerated() {
            var offset = 0
            for (number, count) in zip(part.slices, part.counts) {
                slices.append(
                    Slice(
                        number: number,
                        ids: UnsafeBufferPointer(start: part.ids.pointer(Int64.self) + offset, count: count),
                        rows: part.rows.pointer(Float.self) + offset * embeddingSize,
                        inverseNorms: inverseNorms[index].pointer(Float.self) + offset, part: index, offset: offset))
                offset += count
            }
        }
        self.slices = slices
        positionOfSlice = Dictionary(uniqueKeysWithValues: slices.enumerated().map { ($1.number, $0) })
        for (part, inverse) in zip(parts, inverseNorms) {
            let (count, block) = (part.rows.shape[0], 256)
            parallel.forEach((count + block - 1) / block) { index, _ in
                let start = index * block
                pfc_head_inverse_norms(
                    part.rows.pointer(Float.self) + start * embeddingSize, min(block, count - start), embeddingSize,
                    inverse.pointer(Float.self) + start)
            }
        }
    }

    /// The tiles of a slice's rows.
    static func tiles(_ count: Int) -> [Range<Int>] {
        stride(from: 0, to: count, by: tileRows).map { $0..<min($0 + tileRows, count) }
    }
}
