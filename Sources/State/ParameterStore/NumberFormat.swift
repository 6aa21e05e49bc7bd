public import Tensors

/// How the numbers of a row are kept.
public enum NumberFormat: String, Codable, Sendable, Hashable, CaseIterable {
    /// 32-bit floats.
    case f32
    /// The upper 16 bits of a 32-bit float.
    case bf16
    /// Integers −127…127, zeros up to a multiple of 4 of them, and one f32 that they are multiplied with.
    case int8
    /// Not at all: every number counts as 0.
    case none

    /// Bytes of one row of `width` numbers: 4·D, 2·D, ⌈D/4⌉·4 + 4 or 0.
    public func byteCount(width: Int) -> Int {
        switch self {
        case .f32: 4 * width
        case .bf16: 2 * width
        case .int8: (width + 3) / 4 * 4 + 4
        case .none: 0
        }
    }

    /// The element type of a tensor [R, `extent(width:)`] that has the bytes of R rows: bytes for `int8` and `none`.
    public var dtype: DType {
        switch self {
        case .f32: .f32
        case .bf16: .bf16
        case .int8, .none: .u8
        }
    }

    /// Elements of `dtype` in one row of `width` numbers.
    public func extent(width: Int) -> Int { byteCount(width: width) / dtype.size }
}
