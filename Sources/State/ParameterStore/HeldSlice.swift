/// The memory of one slice, plane by plane, rows in the order of class ids.
package final class HeldSlice: @unchecked Sendable {
    package let number: Int
    package let format: TableFormat
    /// Bytes of one row in each plane.
    package let rowByteCounts: [Int]
    /// The values, and what the optimiser keeps beside them.
    package let planes: [HugeBuffer]
    /// Rows in use.
    package internal(set) var rowCount: Int

    init(number: Int, rowCount: Int, embeddingSize: Int, format: TableFormat, memory: TableMemory)
        throws(CenterStoreError)
    {
        self.number = number
        self.format = format
        self.rowCount = rowCount
        rowByteCounts = format.planes.map { $0.byteCount(width: embeddingSize) }
        var planes: [HugeBuffer] = []
        for size in rowByteCounts {
            planes.append(try HugeBuffer(byteCount: Self.product(rowCount, size), memory: memory))
        }
        self.planes = planes
    }

    /// Where each plane is at the moment; whoever uses it keeps the slice alive.
    package var bases: [UnsafeMutableRawPointer?] { planes.map(\.base) }
    /// The values.
    package var rows: HugeBuffer { planes[0] }
    /// Bytes of the values of one row.
    package var rowByteCount: Int { rowByteCounts[0] }
    /// Bytes of all planes.
    package var byteCount: Int { rowCount * rowByteCounts.reduce(0, +) }

    /// Makes room for `rowCount` rows; the new ones are zero, and not in use yet.
    func reserve(rowCount: Int) throws(CenterStoreError) {
        for (plane, size) in zip(planes, rowByteCounts) { try plane.grow(to: Self.product(rowCount, size)) }
    }

    /// The bytes of some rows, plane by plane; whoever uses them keeps the slice alive.
    func bytes(of rows: Range<Int>) -> [UnsafeMutableRawBufferPointer] {
        zip(planes, rowByteCounts).map { plane, size in
            UnsafeMutableRawBufferPointer(start: plane.base + rows.lowerBound * size, count: rows.count * size)
        }
    }

    private static func product(_ rowCount: Int, _ byteCount: Int) throws(CenterStoreError) -> Int {
        let (bytes, overflow) = rowCount.multipliedReportingOverflow(by: byteCount)
        guard !overflow else { throw CenterStoreError(.memory, "no memory for \(rowCount) rows: use more shards") }
        return bytes
    }
}
