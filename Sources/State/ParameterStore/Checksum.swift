internal import CISAL

/// CRC32C (Castagnoli), continued over pieces: what log records and snapshots are checked by.
package struct Checksum: Sendable, Hashable {
    private var state: UInt32 = .max

    package init() {}

    /// The checksum of everything so far.
    package var value: UInt32 { ~state }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        // The library counts bytes in an int.
        var offset = 0
        while offset < bytes.count {
            let count = min(bytes.count - offset, 1 << 30)
            let piece = UnsafeMutableRawPointer(mutating: base + offset).assumingMemoryBound(to: UInt8.self)
            state = crc32_iscsi(piece, Int32(count), state)
            offset += count
        }
    }

    /// The checksum of `bytes`.
    package static func of(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var checksum = Checksum()
        checksum.update(bytes)
        return checksum.value
    }

    /// The checksum of `bytes`.
    package static func of(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes { of($0) } }
}
