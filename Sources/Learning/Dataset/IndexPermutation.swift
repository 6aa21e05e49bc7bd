public import Determinism

/// A keyed permutation of 0..<count that is evaluated point by point, in constant time and memory.
///
/// A balanced Feistel network over the next even power of two, walked until the value falls in range
/// (Black and Rogaway: *Ciphers with Arbitrary Finite Domains*, CT-RSA 2002).
public struct IndexPermutation: Sendable {
    public let count: Int
    private let halfBits: UInt64
    private let roundKeys: [UInt64]
    private static let rounds = 8

    /// The permutation of 0..<count under (seed, purpose, word). `count` is at least 1.
    public init(count: Int, seed: UInt64, purpose: RandomPurpose, word: UInt64) {
        precondition(count > 0, "an empty set has no permutation")
        self.count = count
        var half: UInt64 = 1
        while half < 31 && UInt64(1) << (2 * half) < UInt64(count) { half += 1 }
        halfBits = half
        var random = KeyedRandom(seed: seed, purpose: purpose, word, UInt64(count))
        roundKeys = (0..<Self.rounds).map { _ in random.next() }
    }

    /// Where `position` in 0..<count goes.
    public subscript(position: Int) -> Int {
        precondition(position >= 0 && position < count, "position \(position) of a permutation of \(count)")
        let mask = (UInt64(1) << halfBits) - 1
        var value = UInt64(position)
        repeat {
            var left = value >> halfBits
            var right = value & mask
            for key in roundKeys { (left, right) = (right, left ^ (KeyedRandom.mix(right ^ key) & mask)) }
            value = left << halfBits | right
        } while value >= UInt64(count)
        return Int(value)
    }
}
