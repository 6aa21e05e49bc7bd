import StepProtocol

/// A part of a slice on its way.
enum ToyParcel: Sendable {
    case row(UInt64)
    case record(ToyRecord)
}

/// What all processes of the simulation can reach, and what the observer knows.
struct ToyWorld {
    var oracle: ToyRun
    /// The term that the coordinator is in.
    var term = 0
    /// Of every checkpoint the slices from this one on cannot be read for a while.
    var unreadableFrom = Int.max
    /// Checkpoints on a shared disk: the rows of each slice, and when they were written.
    private var checkpoints: [String: [Int: (words: Words, step: Int, classVersion: Int)]] = [:]
    private var madeOf: [String: [Int: UInt64]] = [:]
    /// The job that trained in a term.
    var jobOfTerm: [Int: UInt64] = [:]
    /// What jobs keep of checkpoints.
    var jobCheckpoints: [String: ToyJob.Saved] = [:]
    private let sliceCount: Int

    init(_ oracle: ToyRun, sliceCount: Int) { (self.oracle, self.sliceCount) = (oracle, sliceCount) }

    func isPublished(_ directory: String) -> Bool {
        !directory.hasSuffix(".partial") && !directory.hasSuffix(" abandoned")
    }

    mutating func write(_ words: Words, _ slice: Int, _ directory: String, step: Int, _ classVersion: Int) {
        checkpoints[directory, default: [:]][slice] = (words, step, classVersion)
    }

    /// The rows of a slice in a checkpoint of `step`; an empty path is the initial state.
    func read(_ slice: Int, _ directory: String, step: Int) -> Words? {
        if directory.isEmpty { return Words(Toy.initial[Toy.rows(slice)]) }
        if slice >= unreadableFrom { return nil }
        guard let found = checkpoints[directory]?[slice], found.step == step else { return nil }
        return found.words
    }

    mutating func delete(_ directory: String) {
        (checkpoints[directory], madeOf[directory], jobCheckpoints[directory]) = (nil, nil, nil)
    }

    /// Notes which attempts a checkpoint is made of, if attempts differ.
    mutating func note(attempts: [Int: UInt64], in directory: String) { madeOf[directory] = attempts }
    func attempts(in directory: String) -> [Int: UInt64]? { madeOf[directory] }

    /// The newest that is whole and counts, as its directory says.
    var newestCheckpoint: (directory: String, step: Int)? {
        checkpoints.compactMap { directory, slices in
            guard isPublished(directory), let step = slices.first?.value.step,
                flaw(directory, step: step) == nil
            else { return nil }
            return (directory, step)
        }.max { ($0.1, $0.0) < ($1.1, $1.0) }
    }

    /// Gives a checkpoint another name; one that has it is gone.
    mutating func rename(_ directory: String, _ name: String) {
        if let found = checkpoints.removeValue(forKey: directory) { checkpoints[name] = found }
        madeOf[name] = madeOf.removeValue(forKey: directory)
        jobCheckpoints[name] = jobCheckpoints.removeValue(forKey: directory)
    }

    /// The slices that a checkpoint lacks or has of another step, or nil if it is whole.
    func flaw(_ directory: String, step: Int) -> String? {
        for slice in 0..<sliceCount where checkpoints[directory]?[slice]?.step != step {
            return
                "\(directory) of step \(step) has \(Toy.name(slice)) of step \(checkpoints[directory]?[slice]?.step as Any)"
        }
        return nil
    }
}
