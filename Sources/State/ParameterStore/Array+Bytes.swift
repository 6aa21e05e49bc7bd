/// Access to an array's memory for code with typed errors.
extension [UInt8] {
    func withBytes<Value>(
        _ body: (UnsafeRawBufferPointer) throws(CenterStoreError) -> Value
    ) throws(CenterStoreError) -> Value {
        try withUnsafeBytes { bytes in
            Result { () throws(CenterStoreError) -> Value in try body(bytes) }
        }.get()
    }

    mutating func withMutableBytes<Value>(
        _ body: (UnsafeMutableRawBufferPointer) throws(CenterStoreError) -> Value
    ) throws(CenterStoreError) -> Value {
        try withUnsafeMutableBytes { bytes in
            Result { () throws(CenterStoreError) -> Value in try body(bytes) }
        }.get()
    }
}
