/// How a number is rounded into a format of fewer bits.
public enum Rounding: String, Codable, Sendable, Hashable, CaseIterable {
    /// Up or down at random, so that the mean is the number itself. The random bits are keyed by seed, step, class id and
    /// dimension: a function of the run, not of who computes it.
    case stochastic
    /// To the nearest one, ties to even. Updates of less than half a unit in the last place are lost.
    case nearest
}
