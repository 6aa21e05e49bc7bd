/// One try at one step.
///
/// Ordered by step, then attempt: a later one makes every earlier one stale.
public struct StepID: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    /// Number of the step, from 0.
    public var step: Int
    /// How often the step was begun before, from 0.
    public var attempt: Int

    public init(step: Int, attempt: Int) {
        self.step = step
        self.attempt = attempt
    }

    public static func < (a: StepID, b: StepID) -> Bool { (a.step, a.attempt) < (b.step, b.attempt) }

    public var description: String { attempt == 0 ? "step \(step)" : "step \(step) attempt \(attempt)" }
}
