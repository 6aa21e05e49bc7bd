internal import Determinism
package import Tensors

/// A 128-bit hash of the content of tensors, to compare states: equal content, equal digits. Not meant against forgery.
package enum ContentHash {
    /// Hashes element bits and lengths of `tensors` in order.
    package static func hex(of tensors: [Tensor]) -> String {
        var a: UInt64 = 0x243F_6A88_85A3_08D3
        var b: UInt64 = 0x1319_8A2E_0370_7344
        for tensor in tensors {
            a = KeyedRandom.mix(a ^ UInt64(tensor.count))
            let bytes = UnsafeRawBufferPointer(start: tensor.rawPointer, count: tensor.byteCount)
            for start in stride(from: 0, to: bytes.count, by: 8) {
                var word: UInt64 = 0
                if start + 8 <= bytes.count {
                    word = bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)
                } else {
                    withUnsafeMutableBytes(of: &word) { $0.copyBytes(from: bytes[start...]) }
                }
                a = KeyedRandom.mix(a ^ word)
                b = (b ^ word) &* 0x9E37_79B9_7F4A_7C15
                b ^= b >> 29
            }
        }
        withExtendedLifetime(tensors) {}
        return [a, KeyedRandom.mix(a &+ b)].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
