/// The element type of a tensor, with the number it has on the wire.
public enum DType: UInt8, Sendable, Hashable, CaseIterable {
    case f32 = 0
    case f64 = 1
    case i32 = 2
    case i64 = 3
    case u8 = 4
    /// The upper 16 bits of an f32.
    case bf16 = 5

    /// Bytes per element.
    public var size: Int {
        switch self {
        case .bf16: 2
        case .f32, .i32: 4
        case .f64, .i64: 8
        case .u8: 1
        }
    }
}

/// A Swift type that a tensor may hold.
public protocol TensorElement: BitwiseCopyable, Sendable {
    /// The element type that tensors of `Self` carry.
    static var dtype: DType { get }
    /// The additive identity: what new storage is filled with.
    static var zero: Self { get }
}

extension Float: TensorElement { public static var dtype: DType { .f32 } }
extension Double: TensorElement { public static var dtype: DType { .f64 } }
extension Int32: TensorElement { public static var dtype: DType { .i32 } }
extension Int64: TensorElement { public static var dtype: DType { .i64 } }
extension UInt8: TensorElement { public static var dtype: DType { .u8 } }
/// The bits of a bf16.
extension UInt16: TensorElement { public static var dtype: DType { .bf16 } }
