/// The memory of one slice: rows and their momentum, in the order of class ids.
package final class HeldSlice: @unchecked Sendable {
    package let number: Int
    package let rows: HugeBuffer
    package let momentum: HugeBuffer
    /// Rows in use.
    package internal(set) var rowCount: Int
    private let embeddingSize: Int

    init(number: Int, rowCount: Int, embeddingSize: Int) throws(CenterStoreError) {
        self.number = number
        self.rowCount = rowCount
        self.embeddingSize = embeddingSize
        rows = try HugeBuffer(count: rowCount * embeddingSize)
        momentum = try HugeBuffer(count: rowCount * embeddingSize)
    }

    /// Makes room for `rowCount` rows; the new ones are zero, and not in use yet.
    func reserve(rowCount: Int) throws(CenterStoreError) {
        try rows.grow(to: rowCount * embeddingSize)
        try momentum.grow(to: rowCount * embeddingSize)
    }
}
