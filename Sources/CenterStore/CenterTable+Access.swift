internal import CKernels
public import Determinism
public import Tensors

extension CenterTable {
    /// A content hash of every slice held here: XXH64 of its rows, continued over its momentum, in 16 hex digits.
    ///
    /// Equal hashes on two machines mean equal bits of everything the slice is.
    public func sliceHashes(parallel: ParallelBlocks) -> [Int: String] {
        let (rows, momentum, layout, slices, classes, size) = (rows, momentum, layout, slices, classes, embeddingSize)
        let values = Tensor(zeros: Int64.self, shape: [slices.count])
        parallel.forEach(slices.count) { index, _ in
            let held = layout.classes(of: slices.lowerBound + index)
            let offset = (held.lowerBound - classes.lowerBound) * size
            let bytes = held.count * size * MemoryLayout<Float>.stride
            let first = pfc_head_hash(rows.base + offset, bytes, 0)
            values.mutable(Int64.self)[index] = Int64(bitPattern: pfc_head_hash(momentum.base + offset, bytes, first))
        }
        return Dictionary(
            uniqueKeysWithValues: zip(slices, values.array(Int64.self)).map { slice, value in
                let digits = String(UInt64(bitPattern: value), radix: 16)
                return (slice, String(repeating: "0", count: 16 - digits.count) + digits)
            })
    }

    /// Rows and momentum of classes, in the order of `ids`: two tensors f32 [ids.count, D].
    ///
    /// - Throws: `CenterStoreError` if a class is not held here.
    public func read(ids: [Int64]) throws(CenterStoreError) -> (rows: Tensor, momentum: Tensor) {
        for id in ids where id < Int64(classes.lowerBound) || id >= Int64(classes.upperBound) {
            throw CenterStoreError(.notHeld, "class \(id) is not held here: this table has classes \(classes)")
        }
        let result = (
            rows: Tensor(uninitialized: Float.self, shape: [ids.count, embeddingSize]),
            momentum: Tensor(uninitialized: Float.self, shape: [ids.count, embeddingSize])
        )
        let base = Int64(classes.lowerBound)
        pfc_head_gather(
            rows.base, ids, base, ids.count, embeddingSize, result.rows.mutable(Float.self).baseAddress)
        pfc_head_gather(
            momentum.base, ids, base, ids.count, embeddingSize, result.momentum.mutable(Float.self).baseAddress)
        return result
    }
}

/// XXH64 of bytes, the hash that slices are compared by.
public func contentHash(of bytes: [UInt8], seed: UInt64 = 0) -> UInt64 { pfc_head_hash(bytes, bytes.count, seed) }
