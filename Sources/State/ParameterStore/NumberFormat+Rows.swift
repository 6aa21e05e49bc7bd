internal import CKernels

/// Rows to and from 32-bit floats.
extension NumberFormat {
    /// Encodes `count` rows of `width` numbers, rounded to nearest (ties to even), into `count` times `byteCount(width:)` bytes.
    package func encode(_ values: UnsafePointer<Float>, count: Int, width: Int, to encoded: UnsafeMutableRawPointer) {
        switch self {
        case .f32: encoded.copyMemory(from: values, byteCount: byteCount(width: width) * count)
        case .bf16: pfc_head_encode_bf16(values, count * width, encoded.assumingMemoryBound(to: UInt16.self))
        case .int8: pfc_head_encode_int8(values, count, width, encoded)
        case .none: break
        }
    }

    /// Decodes `count` rows of `width` numbers; zeros for `none`.
    package func decode(_ encoded: UnsafeRawPointer, count: Int, width: Int, to values: UnsafeMutablePointer<Float>) {
        switch self {
        case .f32: UnsafeMutableRawPointer(values).copyMemory(from: encoded, byteCount: 4 * width * count)
        case .bf16: pfc_head_decode_bf16(encoded.assumingMemoryBound(to: UInt16.self), count * width, values)
        case .int8: pfc_head_decode_int8(encoded, count, width, values)
        case .none: values.update(repeating: 0, count: count * width)
        }
    }

    /// The first of `count` numbers that is not finite, or would not be in this format.
    package func firstNonFinite(_ values: UnsafePointer<Float>, count: Int) -> Int? {
        let bad =
            self == .bf16 ? pfc_head_first_overflow_bf16(values, count) : pfc_head_first_nonfinite(values, count)
        return bad < 0 ? nil : bad
    }
}
