internal import CKernels
public import Cluster
public import Determinism
public import Tensors

extension CenterTable {
    /// A content hash of every slice of `wanted` (all that are held by default): XXH64 of the bytes of its rows as they are
    /// kept, continued over those of its momentum, in 16 hex digits.
    ///
    /// Equal hashes on two machines mean equal bits of everything the slice is.
    public func sliceHashes(of wanted: SliceSet? = nil, parallel: ParallelBlocks) -> [Int: String] {
        let slices = (wanted ?? slices).numbers.compactMap { memory(of: $0) }
        let values = Tensor(zeros: Int64.self, shape: [slices.count])
        parallel.forEach(slices.count) { index, _ in
            let slice = slices[index]
            let first = pfc_head_hash(slice.rows.base, slice.rowCount * slice.rowByteCount, 0)
            values.mutable(Int64.self)[index] = Int64(
                bitPattern: pfc_head_hash(slice.momentum.base, slice.rowCount * slice.momentumByteCount, first))
        }
        return Dictionary(
            uniqueKeysWithValues: zip(slices, values.array(Int64.self)).map { slice, value in
                let digits = String(UInt64(bitPattern: value), radix: 16)
                return (slice.number, String(repeating: "0", count: 16 - digits.count) + digits)
            })
    }

    /// Rows and momentum of classes, in the order of `ids`: two tensors f32 [ids.count, D], decoded. Momentum that is not
    /// kept is zero.
    ///
    /// - Parameter wanted: the slices to read from; all that are held by default.
    /// - Throws: `CenterStoreError` if a class is not held here.
    public func read(
        ids: [Int64], in wanted: SliceSet? = nil
    ) throws(CenterStoreError) -> (rows: Tensor, momentum: Tensor) {
        let (size, wanted) = (embeddingSize, wanted ?? slices)
        var places: [(slice: HeldSlice, row: Int)] = []
        places.reserveCapacity(ids.count)
        for id in ids {
            guard id >= 0, id < Int64(layout.classCount), case let number = layout.slice(ofClass: Int(id)),
                wanted.contains(number), let slice = memory(of: number),
                let row = layout.classes(of: number).row(ofClass: Int(id))
            else { throw CenterStoreError(.notHeld, "class \(id) is not held here: this table has slices \(wanted)") }
            places.append((slice, row))
        }
        let result = (
            rows: Tensor(uninitialized: Float.self, shape: [ids.count, size]),
            momentum: Tensor(uninitialized: Float.self, shape: [ids.count, size])
        )
        guard let rows = result.rows.mutable(Float.self).baseAddress,
            let momentum = result.momentum.mutable(Float.self).baseAddress
        else { return result }
        for (index, (slice, row)) in places.enumerated() {
            format.rows.decode(
                slice.rows.base + row * slice.rowByteCount, count: 1, width: size, to: rows + index * size)
            format.momentum.decode(
                slice.momentum.base + row * slice.momentumByteCount, count: 1, width: size,
                to: momentum + index * size)
        }
        return result
    }
}

/// XXH64 of bytes, the hash that slices are compared by.
public func contentHash(of bytes: [UInt8], seed: UInt64 = 0) -> UInt64 { pfc_head_hash(bytes, bytes.count, seed) }
