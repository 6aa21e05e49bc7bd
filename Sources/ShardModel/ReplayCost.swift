/// How long the replay of a step takes: about as long as it took to compute.
struct ReplayCost {
    /// Smoothed over the steps; 0 before the first.
    private(set) var secondsPerStep: Double
    private var current = Duration.zero
    /// The weight of the newest step.
    private static let weight = 0.1

    /// - Parameter secondsPerStep: as of a replay, 0 if there was none.
    init(secondsPerStep: Double = 0) { self.secondsPerStep = secondsPerStep }

    /// A computation of the step in hand took so long.
    mutating func add(_ duration: Duration) { current += duration }

    /// An attempt at a step begins: what was done before, for instance to make slices, is not part of it.
    mutating func beginStep() { current = .zero }

    /// The step is committed.
    mutating func endStep() {
        let seconds = current / .seconds(1)
        secondsPerStep = secondsPerStep == 0 ? seconds : (1 - Self.weight) * secondsPerStep + Self.weight * seconds
        current = .zero
    }
}
