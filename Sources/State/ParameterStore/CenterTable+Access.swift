internal import CKernels
public import Cluster
public import Determinism
public import Tensors

extension CenterTable {
    /// A content hash of every slice of `wanted` (all that are held by default): XXH64 of the bytes of its rows as they are
    /// kept, continued over those of the other planes, in 16 hex digits.
    ///
    /// Equal hashes on two machines mean equal bits of everything the slice is.
    public func sliceHashes(of wanted: SliceSet? = nil, parallel: ParallelBlocks) -> [Int: String] {
        let slices = (wanted ?? slices).numbers.compactMap { memory(of: $0) }
        let values = Tensor(zeros: Int64.self, shape: [slices.count])
        parallel.forEach(slices.count) { index, _ in
            let slice = slices[index]
            let hash = zip(slice.planes, slice.rowByteCounts).reduce(0) { hash, plane in
                pfc_head_hash(plane.0.base, slice.rowCount * plane.1, hash)
            }
            values.mutable(Int64.self)[index] = Int64(bitPattern: hash)
        }
        return Dictionary(
            uniqueKeysWithValues: zip(slices, values.array(Int64.self)).map { slice, value in
                let digits = String(UInt64(bitPattern: value), radix: 16)
                return (slice.number, String(repeating: "0", count: 16 - digits.count) + digits)
            })
    }

    /// What is kept of classes, in the order of `ids`: for each plane a tensor f32 [ids.count, D], decoded ([ids.count, 1] if the plane
    /// has one number a row). A plane that is not kept is zero.
    ///
    /// - Parameter wanted: the slices to read from; all that are held by default.
    /// - Throws: `CenterStoreError` if a class is not held here.
    public func read(ids: [Int64], in wanted: SliceSet? = nil) throws(CenterStoreError) -> [Tensor] {
        let wanted = wanted ?? slices
        var places: [(slice: HeldSlice, row: Int)] = []
        places.reserveCapacity(ids.count)
        for id in ids {
            guard id >= 0, id < Int64(layout.classCount), case let number = layout.slice(ofClass: Int(id)),
                wanted.contains(number), let slice = memory(of: number),
                let row = layout.classes(of: number).row(ofClass: Int(id))
            else { throw CenterStoreError(.notHeld, "class \(id) is not held here: this table has slices \(wanted)") }
            places.append((slice, row))
        }
        return format.planes.enumerated().map { index, plane in
            let width = plane.width(of: embeddingSize)
            let result = Tensor(uninitialized: Float.self, shape: [ids.count, width])
            guard let values = result.mutable(Float.self).baseAddress else { return result }
            for (target, (slice, row)) in places.enumerated() {
                plane.format.decode(
                    slice.planes[index].base + row * slice.rowByteCounts[index], count: 1, width: width,
                    to: values + target * width)
            }
            return result
        }
    }
}

/// XXH64 of bytes, the hash that slices are compared by.
public func contentHash(of bytes: [UInt8], seed: UInt64 = 0) -> UInt64 { pfc_head_hash(bytes, bytes.count, seed) }
