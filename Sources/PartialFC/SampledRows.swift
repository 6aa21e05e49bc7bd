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
        /// w [ids.count, D], in the format of the table.
        var rows: UnsafeRawPointer
        /// 1/|w|.
        var inverseNorms: UnsafePointer<Float>
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
    /// Slices in the order of the parts; includes empty ones.
    let slices: [Slice]
    /// Position in `slices` by number of the slice.
    let positionOfSlice: [Int: Int]
    private let parts: [Part]
    private let inverseNorms: [Tensor]

    /// Takes the parts as they are (counts must fit the tensors, which are all of one type) and computes the norms.
    init(layout: SliceLayout, embeddingSize: Int, parts: [Part], parallel: ParallelBlocks) {
        self.layout = layout
        self.embeddingSize = embeddingSize
        self.parts = parts
        isHalf = parts.contains { $0.rows.dtype == .bf16 }
        inverseNorms = parts.map { Tensor(uninitialized: Float.self, shape: [$0.rows.shape[0]]) }
        var slices: [Slice] = []
        for (index, part) in parts.enumerated() {
            let rowBytes = embeddingSize * part.rows.dtype.size
            var offset = 0
            for (number, count) in zip(part.slices, part.counts) {
                slices.append(
                    Slice(
                        number: number,
                        ids: UnsafeBufferPointer(start: part.ids.pointer(Int64.self) + offset, count: count),
                        rows: UnsafeRawPointer(part.rows.rawPointer) + offset * rowBytes,
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
                let rows = part.rows.rows(start..<min(start + block, count))
                if rows.dtype == .bf16 {
                    pfc_rows_inverse_norms_bf16(
                        rows.pointer(UInt16.self), rows.shape[0], embeddingSize, inverse.pointer(Float.self) + start)
                } else {
                    pfc_head_inverse_norms(
                        rows.pointer(Float.self), rows.shape[0], embeddingSize, inverse.pointer(Float.self) + start)
                }
            }
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
}
