/// A random number generator whose every value is a function of a key: (seed, purpose, step, class id, …).
///
/// Nothing in a run draws from a shared stream, so what one process draws never depends on what another drew. The key
/// words are absorbed one by one through the SplitMix64 finaliser (Steele, Lea, Flood: *Fast splittable pseudorandom
/// number generators*, OOPSLA 2014); the values are the SplitMix64 sequence from the resulting state.
public struct KeyedRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// A generator for `purpose` under `seed` and any further key words. Order matters.
    public init(seed: UInt64, purpose: RandomPurpose, _ words: UInt64...) {
        var key = Self.mix(seed &+ 0x9E37_79B9_7F4A_7C15)
        key = Self.mix(key ^ (purpose.rawValue &* 0xD1B5_4A32_D192_ED03))
        for word in words { key = Self.mix((key &+ 0x9E37_79B9_7F4A_7C15) ^ Self.mix(word)) }
        state = key
    }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Self.mix(state)
    }

    /// A number in [0, 1) with 53 random bits.
    public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// An integer in 0..<bound without bias (Lemire 2019).
    public mutating func below(_ bound: UInt64) -> UInt64 {
        precondition(bound > 0, "an empty range has no random number")
        while true {
            let product = next().multipliedFullWidth(by: bound)
            if product.low >= bound || product.low >= (0 &- bound) % bound { return product.high }
        }
    }

    /// The SplitMix64 finaliser: a bijection of 64-bit words.
    @inlinable
    public static func mix(_ word: UInt64) -> UInt64 {
        var z = word
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// What a keyed random number is for: two purposes never share numbers.
public enum RandomPurpose: UInt64, Sendable {
    case centerInitialization = 1
    case negativeSampling = 2
    case backboneInitialization = 3
    case dataOrder = 4
    case augmentation = 5
    case heldOutSplit = 6
    case verificationPairs = 7
    case rounding = 8
    case gradientRounding = 9
    case sampleShares = 10
    case calibration = 12
    case dropout = 13
    case denseGradientRounding = 14
    case test = 99
}
