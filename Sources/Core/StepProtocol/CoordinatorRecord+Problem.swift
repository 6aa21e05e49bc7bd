internal import Cluster
internal import Succession

extension CoordinatorRecord {
    /// Terms that a cluster can come to: names of pasts have 40 bits for them.
    static let termLimit = 1 << 39
    /// What steps, tasks and versions can come to.
    fileprivate static let counterLimit = 1 << 40

    /// Whether it can be the number of a step, or the -1 before the first.
    static func isStep(_ step: Int) -> Bool { (-1..<counterLimit).contains(step) }

    /// Why nobody can have decided this; nil if somebody can. For a record that comes from elsewhere: what passes can be counted on
    /// and sent.
    ///
    /// - Parameters:
    ///   - sliceCount: of the class centers, at most.
    ///   - denseSliceCount: of the backbone, at most.
    public func problem(sliceCount: Int, denseSliceCount: Int) -> String? {
        func isSlice(_ name: SliceName) -> Bool {
            (0..<(name.isDense ? denseSliceCount : sliceCount)).contains(name.number)
        }
        func isCounter(_ count: Int) -> Bool { (0..<Self.counterLimit).contains(count) }
        if !(0..<Self.termLimit).contains(term) || attempts.contains(where: { !(0..<Self.termLimit).contains($0.term) })
        {
            return "its term is \(term)"
        }
        let steps: [Int?] =
            [committed, safe, resultsStep, task?.step, jobs.current?.since] + operations.map(\.afterStep)
            + checkpoints.map(\.step) + rates.map(\.fromStep) + headChanges.map(\.fromStep) + pasts.map(\.since)
            + attempts.map(\.step)
        if let step = steps.lazy.compactMap(\.self).first(where: { !Self.isStep($0) }) {
            return "it names step \(step)"
        }
        let moves =
            switch task?.kind {
            case .handOver(let more), .promote(let more): moves + more
            default: moves
            }
        let counters =
            [mapVersion, nextTask, task?.number ?? 0, view.number] + checkpoints.map(\.classVersion)
            + attempts.map(\.attempt)
        let members =
            members.keys.map(\.number) + owners.values + keepers.values
            + moves.flatMap { [$0.from.number, $0.to.number] } + view.voters.flatMap(\.self)
        if let number = members.first(where: { !(0..<MemberID.numberLimit).contains($0) })
            ?? [nextShard, nextWorker].first(where: { !(0...MemberID.numberLimit).contains($0) })
        {
            return "it has a member with the number \(number)"
        }
        if let number = counters.first(where: { !isCounter($0) }) { return "it has the number \(number)" }
        if !(0...operations.count).contains(classVersion) {
            return "\(classVersion) of \(operations.count) operations on the classes are done"
        }
        let slices = [owners.keys.first { !isSlice($0) }, keepers.keys.first { !isSlice($0) }]
        return (slices.compactMap(\.self).first ?? moves.map(\.slice).first { !isSlice($0) }).map { "it has \($0)" }
    }
}

extension CoordinatorRecord.Decision {
    /// Whether a record can count on its numbers: to be asked of a decision from elsewhere before it is applied. What comes of it is
    /// then checked as a whole (`problem`).
    public var isCountable: Bool {
        switch self {
        case .committed(let id): CoordinatorRecord.isStep(id.step)
        case .member(let member, _), .gone(let member): (0..<MemberID.numberLimit).contains(member.number)
        case .task(let task): task.map { (0..<CoordinatorRecord.counterLimit).contains($0.number) } ?? true
        // What others have is kept as it is.
        default: true
        }
    }
}
