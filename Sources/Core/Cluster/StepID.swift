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

    /// For people who must tell attempts of different terms apart.
    public var place: String {
        self == .skipped(step) ? "step \(step), which was skipped" : "step \(step) attempt \(attempt) of term \(term)"
    }

    /// As text, for acknowledgements: `term.step.attempt`.
    public var code: String { "\(term).\(step).\(attempt)" }

    /// From its `code`; nil if the text is none.
    public init?(code: String) {
        let numbers = code.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
        guard numbers.count == 3, let term = numbers[0], let step = numbers[1], let attempt = numbers[2],
            min(term, step, attempt) >= 0, max(term, step, attempt) < 1 << 40
        else { return nil }
        self.init(term: term, step: step, attempt: attempt)
    }
}
