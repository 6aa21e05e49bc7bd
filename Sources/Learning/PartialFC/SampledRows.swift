internal import CKernels
internal import Determinism
internal import Model
internal import ParameterStore
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
        /// w [ids.count, D], in the format of the table.
        var rows: UnsafeRawPointer
        /// 1/|w|.
        var inverseNorms: UnsafeMutablePointer<Float>
        /// Which part (shard) it came from, and its first row there.
        var part: Int
        var offset: Int
    }

    /// What one shard holds: the sampled count of each of its slices, ids [S] and rows f32 or bf16 [S, D].
    struct Part {
        var slices: [Int]
        var counts: [Int]
        var ids: Tensor
        var rows: Tensor
    }

    let layout: SliceLayout
    let embeddingSize: Int
    /// Whether rows are bf16.
    let isHalf: Bool
    /// Slices in the order in which they were appended; includes empty ones.
    private(set) var slices: [Slice] = []
    /// Position in `slices` by number of the slice.
    private(set) var positionOfSlice: [Int: Int] = [:]
    /// What the pointers of the slices point into.
    private var tensors: [Tensor] = []

    /// No rows yet.
    init(layout: SliceLayout, embeddingSize: Int, isHalf: Bool) {
        self.layout = layout
        self.embeddingSize = embeddingSize
        self.isHalf = isHalf
    }

    /// Takes a part as it is: its counts must fit its tensors, its slices be others than those that are there. The numbers may
    /// come later: until `measure` only the ids are read.
    ///
    /// - Parameter index: what its slices have for `part`.
    /// - Returns: the positions of its slices.
    func append(_ part: Part, index: Int) -> Range<Int> {
        let inverseNorms = Tensor(uninitialized: Float.self, shape: [part.rows.shape[0]])
        tensors += [part.ids, part.rows, inverseNorms]
        let first = slices.count
        var offset = 0
        for (number, count) in zip(part.slices, part.counts) {
            positionOfSlice[number] = slices.count
            slices.append(
                Slice(
                    number: number,
                    ids: UnsafeBufferPointer(start: part.ids.pointer(Int64.self) + offset, count: count),
                    rows: UnsafeRawPointer(part.rows.rawPointer) + offset * rowByteCount,
                    inverseNorms: inverseNorms.pointer(Float.self) + offset, part: index, offset: offset))
            offset += count
        }
        return first..<slices.count
    }

    /// Computes the norms of the rows of some slices, whose numbers are there now.
    func measure(_ positions: Range<Int>, parallel: ParallelBlocks) {
        let pieces = positions.flatMap { position in
            Self.pieces(slices[position].ids.count, of: 256).map { (slices[position], $0) }
        }
        let list = Shared(pieces)
        parallel.forEach(pieces.count) { [self] index, _ in
            let (slice, piece) = list.value[index]
            measure(
                slice.rows + piece.lowerBound * rowByteCount, count: piece.count,
                into: slice.inverseNorms + piece.lowerBound)
        }
    }

    /// Computes the norms of `count` rows, wherever they lie.
    func measure(_ rows: UnsafeRawPointer, count: Int, into inverse: UnsafeMutablePointer<Float>) {
        if isHalf {
            pfc_rows_inverse_norms_bf16(rows.assumingMemoryBound(to: UInt16.self), count, embeddingSize, inverse)
        } else {
            pfc_head_inverse_norms(rows.assumingMemoryBound(to: Float.self), count, embeddingSize, inverse)
        }
    }

    /// Bytes of a row.
    var rowByteCount: Int { embeddingSize * (isHalf ? 2 : 4) }

    /// The range 0..<count in pieces of `size`.
    static func pieces(_ count: Int, of size: Int) -> [Range<Int>] {
        stride(from: 0, to: count, by: size).map { $0..<min($0 + size, count) }
    }

    /// Rows `part` of a slice as f32: where they lie, or decoded into `scratch`.
    func single(_ slice: Slice, _ part: Range<Int>, scratch: UnsafeMutablePointer<Float>) -> UnsafePointer<Float> {
        let rows = slice.rows + part.lowerBound * rowByteCount
        if !isHalf { return rows.assumingMemoryBound(to: Float.self) }
        pfc_head_decode_bf16(rows.assumingMemoryBound(to: UInt16.self), part.count * embeddingSize, scratch)
        return UnsafePointer(scratch)
    }

    /// Rows `part` of a slice as bf16: where they lie, or rounded into `scratch`.
    func half(_ slice: Slice, _ part: Range<Int>, scratch: UnsafeMutablePointer<UInt16>) -> UnsafePointer<UInt16> {
        let rows = slice.rows + part.lowerBound * rowByteCount
        if isHalf { return rows.assumingMemoryBound(to: UInt16.self) }
        pfc_head_encode_bf16(rows.assumingMemoryBound(to: Float.self), part.count * embeddingSize, scratch)
        return UnsafePointer(scratch)
    }

    /// Rows `part` of a slice, divided by their length, as the kernels of `fma.h` read them.
    func pack(_ slice: Slice, _ part: Range<Int>, padded: Int, into packed: UnsafeMutablePointer<Float>) {
        let rows = slice.rows + part.lowerBound * rowByteCount
        let inverse = slice.inverseNorms + part.lowerBound
        if isHalf {
            pfc_fma_pack_rows_bf16(
                rows.assumingMemoryBound(to: UInt16.self), inverse, part.count, padded, embeddingSize, packed)
        } else {
            pfc_fma_pack_rows(
                rows.assumingMemoryBound(to: Float.self), inverse, part.count, padded, embeddingSize, packed)
        }
    }

    /// Where rows `part` of a slice are.
    func memory(_ slice: Slice, _ part: Range<Int>) -> pfc_piece {
        pfc_piece(start: slice.rows + part.lowerBound * rowByteCount, byte_count: part.count * rowByteCount)
    }
}
