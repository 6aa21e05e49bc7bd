internal import CKernels

/// A number that differs when bytes differ, to tell works apart; not meant against forgery.
public enum ContentFingerprint {
    /// The fingerprint of `bytes` after what `previous` is of.
    public static func of(_ bytes: UnsafeRawBufferPointer, after previous: UInt64 = 0) -> UInt64 {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return previous }
        return pfc_image_checksum(previous, base, bytes.count)
    }
}
