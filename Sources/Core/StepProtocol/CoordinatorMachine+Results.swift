public import Cluster

/// The end of a run: its results are written by a worker, whichever is there, and the run is finished when they are.
extension CoordinatorMachine {
    /// What is known of the results besides the record.
    struct Ending: Sendable {
        /// Whether someone of the last world could write them; nil if an earlier coordinator saw it.
        var couldBeWritten: Bool?
        /// The worker that was rank 0 of the last step: it holds the parameters.
        var preferred: MemberID?
        /// The id under which a worker was asked last, and when.
        var asked: StepID?
        var askedAt = Duration.zero
        /// Workers that could not, since the last one that was asked.
        var failed: Set<MemberID> = []
        /// How often it failed in a row, and why the last time.
        var failures = 0
        var problem = ""
    }

    /// Whether every step that is to be done is committed: what is left is to write the results, or nothing.
    var isAtEnd: Bool {
        switch activity {
        case .finishing, .finished: true
        case .train, .wait, .task, .failed: false
        }
    }

    private var areResultsDue: Bool {
        configuration.writesResults && committed >= 0 && record.resultsStep != committed
    }

    /// The world of the last step, before it is forgotten.
    mutating func noteLastWorld() {
        guard let first = ranks.first else { return }
        resetEnding()
        ending.preferred = first.worker
        ending.couldBeWritten = ranks.contains { live[$0.worker]?.writesResults == true }
    }

    /// Every step is committed, or the operator has stopped the run.
    mutating func end(_ now: Duration) -> [Action] {
        retryAt = nil
        let event = Action.event(.info, "\(committed + 1) steps are done, the last is step \(committed)")
        let everyone = Set(owners.map(\.number))
        guard areResultsDue else { return [event] + turn(to: .finished(unconfirmed: everyone)) }
        if ending.couldBeWritten == false, !workers.contains(where: { live[$0]?.writesResults == true }) {
            let text = "no worker of this run writes results: there is no backbone"
            return [event, .event(.warning, text)] + decide(.results(step: committed))
                + turn(to: .finished(unconfirmed: everyone))
        }
        return [event] + assignResults(now)
    }

    /// Goes on with the results: another worker takes over from one that is gone, or that could not.
    ///
    /// Called whenever something has happened.
    mutating func pursueResults(_ now: Duration) -> [Action] {
        guard case .finishing(let writer) = activity else { return [] }
        if let retryAt, retryAt <= now { self.retryAt = nil }
        if let writer {
            if live[writer] != nil { return replaceIdleWriter(writer, now) }
            return [.event(.warning, "\(writer) is gone and has not written the results")] + assignResults(now)
        }
        guard retryAt == nil, candidate(now) != nil else { return [] }
        return assignResults(now)
    }

    /// Who is to write them: rank 0 of the last step if it is there, then whoever has not failed yet, then whoever has. Workers that are
    /// left out of steps come last.
    private func candidate(_ now: Duration) -> MemberID? {
        let able = ableWriters
        let fresh = able.filter { !ending.failed.contains($0) }
        let useful = fresh.filter { !isLeftOut($0, now) }
        return useful.first { $0 == ending.preferred } ?? useful.first ?? fresh.first ?? able.first
    }

    private var ableWriters: [MemberID] { workers.filter { isAlive($0) && live[$0]?.writesResults == true } }

    /// One that lives and does not say that it writes is not waited for while there is another. Writing may take long: who says that it
    /// does is left to it.
    private mutating func replaceIdleWriter(_ writer: MemberID, _ now: Duration) -> [Action] {
        guard configuration.stuckAfter > .zero, ableWriters.contains(where: { $0 != writer }) else { return [] }
        var since = ending.askedAt
        if let known = live[writer]?.activity, known.said.id == id {
            if known.said.computes { return [] }
            since = max(since, known.changed)
        }
        let idle = now - since
        guard idle >= configuration.stuckAfter * Self.unknownFactor else { return [] }
        return failResults("it has done nothing for \(Int(idle / .seconds(1))) s", writer, now)
    }

    private mutating func assignResults(_ now: Duration) -> [Action] {
        let isRepeated = ending.failed.count >= workers.count(where: { live[$0]?.writesResults == true })
        let mayBegin = retryAt == nil || !isRepeated
        let writer = mayBegin ? candidate(now) : nil
        if writer != nil {
            // Whoever is asked is asked under an id of its own: what an earlier one says counts for nothing.
            skipUsedID()
            ending.asked = id
            ending.askedAt = now
            if isRepeated { ending.failed = [] }
        }
        let text = writer.map { "\($0) writes the results" } ?? "results are due, waiting for a worker"
        let event: [Action] = writer == nil && retryAt != nil ? [] : [.event(.info, text)]
        let unconfirmed = unconfirmedShards ?? Set(owners.map(\.number))
        return event + turn(to: .finishing(writer: writer, unconfirmed: unconfirmed))
    }

    /// A worker says how writing the results ended.
    mutating func settleResults(
        _ id: StepID, _ problem: String?, from member: MemberID, _ now: Duration
    ) -> [Action] {
        guard activity == .finishing(writer: member), id == self.id else { return [] }
        if let problem { return failResults(problem, member, now) }
        resetEnding()
        // The pause after a worker that could not: nobody would clear it any more, and its time would come again and again.
        retryAt = nil
        return decide(.results(step: committed))
            + [.event(.info, "\(member) has written the results after step \(committed)")]
            + turn(to: .finished(unconfirmed: unconfirmedShards))
    }

    /// The results could not be written: by another worker at once, or again in a while.
    mutating func failResults(_ problem: String, _ member: MemberID, _ now: Duration) -> [Action] {
        let text = "\(member): \(problem)"
        let event: [Action] =
            ending.problem == text ? [] : [.event(.error, "the results could not be written: \(text)")]
        ending.problem = text
        ending.failed.insert(member)
        ending.failures += 1
        let pause = configuration.unresponsiveBackoff * (1 << min(ending.failures, 5))
        retryAt = now + pause
        return event + assignResults(now)
    }

    /// Gives the results up: the run is finished without them.
    mutating func giveUpResults() -> [Action] {
        guard case .finishing = activity else { return [] }
        resetEnding()
        retryAt = nil
        return decide(.results(step: committed))
            + [.event(.warning, "the results after step \(committed) are given up: nobody writes them")]
            + turn(to: .finished(unconfirmed: unconfirmedShards))
    }

    /// Whether this process is the one that the plan of `id` asks for the results.
    public func isAskedForResults(_ member: MemberID, incarnation: UInt64, _ id: StepID) -> Bool {
        activity == .finishing(writer: member) && id == self.id && isMember(member, incarnation: incarnation)
    }

    /// Going back, and going on after the end: what was written is not what the end of the run will be.
    mutating func forgetResults() -> [Action] {
        resetEnding()
        return record.resultsStep == nil ? [] : decide(.results(step: nil))
    }

    /// An id under which results were written is not used again, for a step neither.
    mutating func skipUsedID() {
        if ending.asked == id { id.attempt += 1 }
    }

    private mutating func resetEnding() {
        let asked = ending.asked
        ending = Ending()
        ending.asked = asked
    }
}
