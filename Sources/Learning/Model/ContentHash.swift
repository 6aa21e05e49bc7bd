internal import Determinism
internal import Tensors

/// A 128-bit hash of float content, to compare states: equal content, equal digits. Not meant against forgery.
enum ContentHash {
    /// Hashes element bits and lengths of `tensors` in order.
    static func hex(of tensors: [Tensor]) -> String {
        var a: UInt64 = 0x243F_6A88_85A3_08D3
        var b: UInt64 = 0x1319_8A2E_0370_7344
        for tensor in tensors {
            let values = tensor.buffer(Float.self)
            a = KeyedRandom.mix(a ^ UInt64(values.count))
            var i = 0
            while i < values.count {
                let low = UInt64(values[i].bitPattern)
                let high = i + 1 < values.count ? UInt64(values[i + 1].bitPattern) : 0
                let word = low | high << 32
                a = KeyedRandom.mix(a ^ word)
                b = (b ^ word) &* 0x9E37_79B9_7F4A_7C15
                b ^= b >> 29
                i += 2
            }
        }
        return [a, KeyedRandom.mix(a &+ b)].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
