/// What was found when a data set was opened, beside its samples: what was left out, and what was mended.
///
/// Everything is counted; the first of each kind is kept with its name.
public struct OpeningReport: Sendable, Hashable {
    /// How many problems and notes are kept.
    public static let limit = 100

    /// What was wrong with samples that were left out: the first of them.
    public private(set) var problems: [DatasetError] = []
    /// Images or records that were left out.
    public private(set) var leftOutSamples = 0
    /// Identities that no sample is left of, as far as that shows without decoding images.
    public private(set) var leftOutIdentities = 0
    /// What else should be known, a sentence each: what was mended, and what was passed over.
    public private(set) var notes: [String] = []
    /// What was probably meant, a sentence each, where the data look as if something else were.
    public var hints: [String] = []

    public init(problems: [DatasetError] = []) {
        self.problems = Array(problems.prefix(Self.limit))
        leftOutSamples = problems.count
    }

    /// For a log: the first problems, how many there are in all, and the notes.
    public var lines: [String] {
        var lines = problems.prefix(10).map { "left out: \($0)" }
        if leftOutSamples > 10 { lines.append("\(leftOutSamples) samples were left out in all") }
        if leftOutIdentities > 0 {
            lines.append(
                "\(counted(leftOutIdentities, "identity has", "identities have")) no sample that is read: left out")
        }
        return lines + notes
    }

    mutating func leaveOut(_ problem: DatasetError) {
        leftOutSamples += 1
        if problems.count < Self.limit { problems.append(problem) }
    }

    mutating func leaveOutIdentity() { leftOutIdentities += 1 }

    mutating func note(_ text: String) {
        if notes.count < Self.limit { notes.append(text) }
    }
}

/// Collects what is wrong while a data set is opened, or throws the first of it.
struct ProblemList {
    let policy: BadSamplePolicy
    var report = OpeningReport()

    init(policy: BadSamplePolicy) { self.policy = policy }

    /// A sample that is left out.
    ///
    /// - Throws: `error` if bad samples are fatal.
    mutating func report(_ error: DatasetError) throws(DatasetError) {
        if policy == .fatal { throw error }
        report.leaveOut(error)
    }

    /// Something that was mended.
    ///
    /// - Throws: `error` if bad samples are fatal.
    mutating func mend(_ error: DatasetError) throws(DatasetError) {
        if policy == .fatal { throw error }
        report.note("\(error)")
    }
}

/// A number and what it counts.
func counted(_ number: Int, _ one: String, _ many: String) -> String { "\(number) \(number == 1 ? one : many)" }
