/// A value that a pickle may hold. Compound values refer to others by their number in the reader's arena, so that
/// neither deep nesting nor cycles can exhaust the stack.
enum PickleValue {
    case none
    case bool(Bool)
    case integer(Int)
    case float(Double)
    /// Bytes of the file.
    case bytes(Range<Int>)
    /// Text as UTF-8 bytes of the file.
    case text(Range<Int>)
    /// Bytes that are not in the file as such.
    case decodedBytes([UInt8])
    /// Text with escapes: its characters, all below 256.
    case latinText([UInt8])
    case tuple([Int32])
    case list([Int32])
    case dictionary
    case global(PickleGlobal)
    /// A NumPy element type such as `u1`.
    case elementType(String)
    /// A NumPy array, once its contents are known: element type, shape, and the number of the value with its bytes.
    case array(type: String, shape: [Int], contents: Int32)
    /// A NumPy array before its contents are known.
    case emptyArray
}

/// The only names that a pickle may refer to. None of them is looked up or called: the reader knows what they mean.
enum PickleGlobal: CaseIterable {
    case reconstruct, frombuffer, scalar, ndarray, dtype, encode, makeBytes

    /// The meaning of `module.name`, or nil if it is not allowed.
    init?(module: String, name: String) {
        switch (module, name) {
        case ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"): self = .reconstruct
        case ("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer"): self = .frombuffer
        case ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar"): self = .scalar
        case ("numpy", "ndarray"): self = .ndarray
        case ("numpy", "dtype"): self = .dtype
        case ("_codecs", "encode"): self = .encode
        case ("__builtin__", "bytes"), ("builtins", "bytes"), ("__builtin__", "bytearray"), ("builtins", "bytearray"):
            self = .makeBytes
        default: return nil
        }
    }
}
