/// One try at one step.
///
/// Ordered by term, then step, then attempt: a later one makes every earlier one stale. A *term* begins whenever a
/// coordinator starts and whenever the cluster goes back to an earlier step, so that an id is never used twice.
public struct StepID: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    /// Number of the term, from 0.
    public var term: Int
    /// Number of the step, from 0.
    public var step: Int
    /// How often the step was begun before in this term, from 0.
    public var attempt: Int

    public init(term: Int = 0, step: Int, attempt: Int) {
        self.term = term
        self.step = step
        self.attempt = attempt
    }

    /// No attempt at all: terms of a cluster begin with 1.
    public static let nothing = StepID(term: 0, step: 0, attempt: 0)

    public static func < (a: StepID, b: StepID) -> Bool { (a.term, a.step, a.attempt) < (b.term, b.step, b.attempt) }

    public var description: String { attempt == 0 ? "step \(step)" : "step \(step) attempt \(attempt)" }

    /// What stands for a step that was skipped: all skips of a step are equal, whoever logged them in which term.
    public static func skipped(_ step: Int) -> StepID { StepID(term: 0, step: step, attempt: 0) }

    /// As text, for acknowledgements: `term.step.attempt`.
    public var code: String { "\(term).\(step).\(attempt)" }
}
