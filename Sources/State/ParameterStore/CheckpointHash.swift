internal import CKernels

/// The hash of a checkpoint file: XXH64, continued over pieces. See `CheckpointManifest.File.hash`.
struct CheckpointHash {
    static let pieceByteCount = 4 << 20

    private var value: UInt64 = 0

    /// Adds a piece: the header, or at most `pieceByteCount` bytes of a tensor.
    mutating func update(_ piece: UnsafeRawBufferPointer) {
        guard let base = piece.baseAddress, !piece.isEmpty else { return }
        value = pfc_head_hash(base, piece.count, value)
    }

    /// 16 hex digits.
    var digits: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
