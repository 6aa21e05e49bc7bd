extension Array where Element == UInt8 {
    /// `withUnsafeBytes` that keeps the type of the error.
    func withBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws(DatasetError) -> Result
    ) throws(DatasetError) -> Result {
        try withUnsafeBufferPointer { buffer throws(DatasetError) in try body(UnsafeRawBufferPointer(buffer)) }
    }
}
