/// Real numbers of any precision, as f32.
extension SafeTensorsFile {
    /// A tensor of real numbers: where it lies, and in which precision.
    public struct RealEntry: Sendable, Hashable {
        enum Precision: String, Sendable {
            case f32 = "F32"
            case f64 = "F64"
            case bf16 = "BF16"
            case f16 = "F16"

            var size: Int { self == .f64 ? 8 : self == .f32 ? 4 : 2 }
        }

        var precision: Precision
        var bytes: Range<Int>
        public var shape: [Int]
    }

    /// Elements that are converted at a time.
    private static let chunk = 1 << 16

    /// The tensor `name`, if it is of type F32, F16, BF16 or F64.
    ///
    /// - Throws: `SafeTensorsError` if it is missing or of another type.
    public func reals(_ name: String) throws(SafeTensorsError) -> RealEntry {
        guard let found = description(of: name) else { throw missing(name) }
        guard let precision = RealEntry.Precision(rawValue: found.type) else {
            throw SafeTensorsError(path: path, problem: "tensor \(name) is \(found.type), expected real numbers")
        }
        return RealEntry(precision: precision, bytes: found.bytes, shape: found.shape)
    }

    /// Reads elements of a tensor as f32, from element `first` on, until `target` is full.
    ///
    /// - Throws: `SafeTensorsError` if they cannot be read. Traps if they are not the tensor's.
    public func read(
        _ entry: RealEntry, from first: Int = 0, into target: UnsafeMutableBufferPointer<Float>
    ) throws(SafeTensorsError) {
        let size = entry.precision.size
        precondition(first >= 0 && (first + target.count) * size <= entry.bytes.count, "elements outside of a tensor")
        let start = entry.bytes.lowerBound + first * size
        if entry.precision == .f32 {
            return try unsafe read(bytesAt: start, into: UnsafeMutableRawBufferPointer(target))
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(target.count, Self.chunk) * size, alignment: 8)
        defer { unsafe buffer.deallocate() }
        for done in stride(from: 0, to: target.count, by: Self.chunk) {
            let count = min(Self.chunk, target.count - done)
            try unsafe read(
                bytesAt: start + done * size, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<(count * size)]))
            for index in 0..<count {
                unsafe target[done + index] =
                    switch entry.precision {
                    case .f64: unsafe Float(buffer.load(fromByteOffset: index * size, as: Double.self))
                    case .bf16:
                        unsafe Float(
                            bitPattern: UInt32(buffer.load(fromByteOffset: index * size, as: UInt16.self)) << 16)
                    case .f16, .f32:
                        unsafe Float(Float16(bitPattern: buffer.load(fromByteOffset: index * size, as: UInt16.self)))
                    }
            }
        }
    }

    /// The tensor `name` as f32, if it is of type F32, F16, BF16 or F64.
    ///
    /// - Throws: `SafeTensorsError` if it is missing, of another type, or cannot be read.
    public func floats(_ name: String) throws(SafeTensorsError) -> Tensor {
        let entry = try reals(name)
        let tensor = Tensor(uninitialized: Float.self, shape: entry.shape)
        try unsafe read(entry, into: tensor.mutable(Float.self))
        return tensor
    }
}
