/// The dropout of a training: numbers that a sample loses, drawn anew in every step (Srivastava et al., *Dropout*, JMLR 2014).
///
/// Every mask is a function of seed, step and the sample's position in the global batch: neither the number of processes nor that of
/// threads changes a bit.
public struct Dropout: Sendable, Hashable {
    /// p in [0, 1): the probability with which a number becomes 0. The others are divided by 1 − p, as in PyTorch.
    public let rate: Double
    public let seed: UInt64

    public init(rate: Double, seed: UInt64) {
        precondition((0..<1).contains(rate), "a rate of \(rate)")
        (self.rate, self.seed) = (rate, seed)
    }

    /// No dropout.
    public static let none = Dropout(rate: 0, seed: 0)
}

/// Where samples stand in training.
public struct BatchPlace: Sendable, Hashable {
    public var step: Int
    /// Of the first of them in the global batch.
    public var position: Int

    public init(step: Int, position: Int) { (self.step, self.position) = (step, position) }

    /// The place of a sample behind these.
    func advanced(by samples: Int) -> BatchPlace { BatchPlace(step: step, position: position + samples) }
}
