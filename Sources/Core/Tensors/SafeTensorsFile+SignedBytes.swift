/// Tensors of signed bytes.
extension SafeTensorsFile {
    /// The name of the type of signed bytes in a file. `DType` has none: it numbers what messages carry.
    static let signedByteType = "I8"

    /// A tensor of signed bytes: where it lies.
    public struct SignedByteEntry: Sendable, Hashable {
        public var shape: [Int]
        var bytes: Range<Int>
    }

    /// The tensor `name`, if it is of type I8.
    ///
    /// - Throws: `SafeTensorsError` if it is missing or of another type.
    public func signedBytes(_ name: String) throws(SafeTensorsError) -> SignedByteEntry {
        guard let found = description(of: name) else { throw missing(name) }
        guard found.type == Self.signedByteType else {
            throw SafeTensorsError(
                path: path, problem: "tensor \(name) is \(found.type), expected \(Self.signedByteType)")
        }
        return SignedByteEntry(shape: found.shape, bytes: found.bytes)
    }

    /// Whether the tensor `name` is there and of type I8.
    public func isSignedBytes(_ name: String) -> Bool { description(of: name)?.type == Self.signedByteType }

    /// Reads elements of a tensor, from element `first` on, until `target` is full.
    ///
    /// - Throws: `SafeTensorsError` if they cannot be read. Traps if they are not the tensor's.
    public func read(
        _ entry: SignedByteEntry, from first: Int = 0, into target: UnsafeMutableBufferPointer<Int8>
    ) throws(SafeTensorsError) {
        precondition(first >= 0 && first + target.count <= entry.bytes.count, "elements outside of a tensor")
        try unsafe read(bytesAt: entry.bytes.lowerBound + first, into: UnsafeMutableRawBufferPointer(target))
    }
}
