/// Which records of a log count, in order: later ones supersede earlier ones.
///
/// A record of step s supersedes those of steps >= s, for a retry or a going back made them void. A class operation
/// comes after its step: it supersedes records of later steps, and operations after the same step of its class
/// version or higher.
struct StepLogIndex {
    struct Entry: Hashable {
        var segment: Int
        var offset: Int
        /// Frame and body.
        var byteCount: Int
        var step: Int
        var isClasses: Bool
        var classVersion: Int
    }

    /// Ascending by step.
    private(set) var entries: [Entry] = []

    mutating func append(_ entry: Entry) {
        while let last = entries.last, entry.supersedes(last) { entries.removeLast() }
        entries.append(entry)
    }

    /// Forgets what comes after `step`, and the operations after it of a higher class version.
    mutating func truncate(after step: Int, classVersion: Int) {
        while let last = entries.last,
            last.step > step || last.step == step && last.isClasses && last.classVersion > classVersion
        {
            entries.removeLast()
        }
    }

    mutating func removeAll(ofSegmentsBefore segment: Int) { entries.removeAll { $0.segment < segment } }

    mutating func removeAll() { entries = [] }

    /// Index of the first entry of a step after `step`.
    func first(after step: Int) -> Int {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = low + (high - low) / 2
            if entries[middle].step <= step { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension StepLogIndex.Entry {
    func supersedes(_ earlier: Self) -> Bool {
        if !isClasses { return earlier.step >= step }
        return earlier.step > step || earlier.step == step && earlier.isClasses && earlier.classVersion >= classVersion
    }
}
