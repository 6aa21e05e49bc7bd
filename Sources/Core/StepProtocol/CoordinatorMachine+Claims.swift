internal import Cluster

/// Directories that contradict what is known: older copies, and a second process with the state of a member that is alive.
extension CoordinatorMachine {
    /// Whether a process that comes with the state of a member may be that member.
    ///
    /// - Returns: nil if it may. What to do instead: a refusal, or nothing, for a process that is to wait until it is clear whether
    ///   the member is alive; it repeats its hello meanwhile.
    mutating func examine(_ newcomer: Newcomer, _ now: Duration) -> [Action]? {
        guard let number = newcomer.previousNumber, let held = newcomer.state.holdings, newcomer.state.hasSlices else {
            return nil
        }
        let member = MemberID(.shard, number)
        // A process whose memory is intact is no copy.
        guard let known = record.members[member], known.incarnation != newcomer.incarnation else { return nil }
        // An old record says nothing that a directory could contradict; who lives is known all the same.
        if !isOlder, !isOfTheFuture(held), let why = contradiction(newcomer.state, held, member) {
            return refuse(newcomer, held, member, why)
        }
        guard owns(member), mustWait(newcomer, held, member, known) else { return nil }
        let heard = live[member]?.lastHeard ?? .zero
        guard let since = challenges[newcomer.incarnation] else {
            if challenges.count >= 64, let oldest = challenges.min(by: { $0.value < $1.value })?.key {
                challenges[oldest] = nil
            }
            challenges[newcomer.incarnation] = now
            return []
        }
        if isHeard(member), heard > since {
            return refuse(newcomer, held, member, "\(member) is alive, with another directory")
        }
        if heard + configuration.lease > now { return [] }
        challenges[newcomer.incarnation] = nil
        return nil
    }

    /// Whether the member that this process wants to be may still be alive: a process that was started again with its own directory
    /// shows by its lock that the one before it is dead, a copy of the directory does not.
    private func mustWait(
        _ newcomer: Newcomer, _ held: ShardHoldings, _ member: MemberID, _ known: CoordinatorRecord.MemberRecord
    ) -> Bool {
        guard newcomer.state.logsSteps else { return false }
        let isOwn = known.directory == 0 || held.identity == 0 || known.directory == held.identity
        let isBehind = newcomer.state.newest < live[member]?.report?.committed ?? -1
        if isOwn && !isBehind { return false }
        return !isOwn || isHeard(member)
    }

    /// Why this cannot be the state of the member, or nil.
    private func contradiction(_ state: ShardState, _ held: ShardHoldings, _ member: MemberID) -> String? {
        guard owns(member) else { return nil }
        var step: Int?
        switch record.task?.kind {
        case .restore(.some): return nil  // whatever it holds is replaced
        case .restore(nil): step = record.task?.step
        default: break
        }
        if held.past != 0, !held.owned.isEmpty, !record.pasts.isEmpty {
            let fits = step.map { record.pasts.contains(held.past, upTo: $0) } ?? (held.past == record.pasts.present)
            if !fits {
                let since = record.pasts.last?.since ?? -1
                return "it is of a past that the cluster has left: it went back to step \(since) since then"
            }
        }
        // An operation on the classes is done when every owner has it on its disk: what it changed has the same step as before.
        if !held.owned.isEmpty, held.classVersion < classVersion {
            return "it has seen \(held.classVersion) operations on the classes, and \(member) has done \(classVersion)"
        }
        // Before the first step a slice has its initial values, as long as the classes are those of the beginning.
        if committed >= 0 || classVersion > 0 {
            let mine = Set(record.owners.filter { $0.value == member.number }.keys)
            let isOfOtherClasses = held.receivedClassVersion.map { $0 < classVersion } ?? false
            let missing = mine.subtracting(held.owned).subtracting(isOfOtherClasses ? [] : held.copies)
                .subtracting(held.kept)
            if let first = missing.min() {
                let others = missing.count > 1 ? " and \(missing.count - 1) more" : ""
                if held.copies.contains(first) {
                    return "its copy of \(first)\(others) is from before an operation on the classes"
                }
                return "it lacks \(first)\(others), of which \(member) became the owner later"
            }
        }
        let mark = max(marks[member] ?? -1, record.safe)
        if state.logsSteps, held.isSynced, state.newest < mark, state.newest < committed {
            return "it ends with step \(state.newest), and \(member) had step \(mark) on its disk"
        }
        return nil
    }

    private mutating func refuse(
        _ newcomer: Newcomer, _ held: ShardHoldings, _ member: MemberID, _ why: String
    ) -> [Action] {
        challenges[newcomer.incarnation] = nil
        let this = held.place.isEmpty ? "the directory of the process" : "the directory \(held.place)"
        var message = "\(this) at \(newcomer.endpoint) is not that of \(member): \(why). It is an older copy; "
        if let known = record.members[member] {
            if !isHeard(member), known.place == held.place {
                message += "bring back what \(member) last had there"
            } else {
                let right = known.place.isEmpty ? "its own directory" : "the directory \(known.place)"
                message += "\(member) is the process at \(known.endpoint), with \(right): use that"
            }
        }
        if !isHeard(member) {
            message +=
                ". If that is lost, `coordinator restore` goes back to a checkpoint with what is here, and `coordinator forget "
                + "\(member)` gives the shard up"
        }
        var actions: [Action] = []
        if refusals[member] != message { actions = [.event(.warning, message)] }
        refusals[member] = message
        return actions + [.refuse(newcomer.peer, .incarnation, message: message)]
    }

    /// What the status says of a shard that is waited for: directories that came in its name and were not taken.
    func refusal(of member: MemberID) -> String { refusals[member].map { ". Refused: \($0)" } ?? "" }

    /// The member has come: what was refused in its name is of no interest any more.
    mutating func settle(_ member: MemberID) {
        refusals[member] = nil
        copies.givenUp.remove(member)
    }

    /// Raises what the shard is known to have on its disk.
    mutating func mark(_ report: ShardReport, of member: MemberID) {
        guard report.past != 0, report.past == record.pasts.present else { return }
        marks[member] = max(marks[member] ?? -1, min(report.durable, committed))
    }
}
