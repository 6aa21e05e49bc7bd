/// The memory of one slice: rows and their momentum, in the order of class ids.
package final class HeldSlice: @unchecked Sendable {
    package let number: Int
    package let format: TableFormat
    /// Bytes of one row.
    package let rowByteCount: Int
    /// Bytes of the momentum of one row.
    package let momentumByteCount: Int
    package let rows: HugeBuffer
    package let momentum: HugeBuffer
    /// Rows in use.
    package internal(set) var rowCount: Int

    init(number: Int, rowCount: Int, embeddingSize: Int, format: TableFormat, memory: TableMemory)
        throws(CenterStoreError)
    {
        self.number = number
        self.format = format
        self.rowCount = rowCount
        rowByteCount = format.rows.byteCount(width: embeddingSize)
        momentumByteCount = format.momentum.byteCount(width: embeddingSize)
        rows = try HugeBuffer(byteCount: Self.product(rowCount, rowByteCount), memory: memory)
        momentum = try HugeBuffer(byteCount: Self.product(rowCount, momentumByteCount), memory: memory)
    }

    /// Makes room for `rowCount` rows; the new ones are zero, and not in use yet.
    func reserve(rowCount: Int) throws(CenterStoreError) {
        try rows.grow(to: Self.product(rowCount, rowByteCount))
        try momentum.grow(to: Self.product(rowCount, momentumByteCount))
    }

    private static func product(_ rowCount: Int, _ byteCount: Int) throws(CenterStoreError) -> Int {
        let (bytes, overflow) = rowCount.multipliedReportingOverflow(by: byteCount)
        guard !overflow else { throw CenterStoreError(.memory, "no memory for \(rowCount) rows: use more shards") }
        return bytes
    }
}
