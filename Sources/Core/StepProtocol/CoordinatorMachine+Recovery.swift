internal import Cluster

/// Going back: what members hold is compared with what is known to be committed.
extension CoordinatorMachine {
    /// A term begins: ids of earlier ones are stale.
    mutating func beginTerm(committed: Int) -> [Action] {
        let actions = decide(.term(max(record.term, highestTerm) + 1, committed: committed))
        hasBegunInTerm = false
        id = StepID(term: record.term, step: committed + 1, attempt: 0)
        attempts = .unknown
        revision = 0
        stepStart = nil
        retryAt = nil
        unresponsiveAttempts = 0
        complaints = [:]
        suspects = nil
        unreached.suspect = nil
        toSkip = nil
        acknowledged = [:]
        taskProblem = nil
        state = .waiting(reason: "")
        return actions
    }

    /// The newest checkpoint, or the one that the run started from.
    var newestCheckpoint: CoordinatorRecord.CheckpointRecord? {
        record.checkpoints.max { ($0.step, $0.classVersion) < ($1.step, $1.classVersion) }
            ?? configuration.origin.map { .init(step: $0.step, directory: $0.directory, classVersion: $0.classVersion) }
    }

    /// The state before the first step, which the configuration says.
    var beginning: CoordinatorRecord.CheckpointRecord {
        newestOrigin ?? .init(step: -1, directory: "", classVersion: 0)
    }

    private var newestOrigin: CoordinatorRecord.CheckpointRecord? {
        configuration.origin.map { .init(step: $0.step, directory: $0.directory, classVersion: $0.classVersion) }
    }

    /// Every shard loads its slices from a checkpoint.
    ///
    /// - Parameter forJob: whether the job that trains begins there. Any other is ahead of it, and ends.
    mutating func goBack(to checkpoint: CoordinatorRecord.CheckpointRecord, forJob: Bool = false) -> [Action] {
        var actions = leaveThePast()
        if !forJob {
            actions += endJob(
                .superseded,
                "the cluster has gone back to step \(checkpoint.step): start the job again from a checkpoint up to there"
            )
        }
        // Class operations that came later are due again at their steps.
        if classVersion != checkpoint.classVersion {
            actions += decide(.operations(record.operations, classVersion: checkpoint.classVersion))
            actions += decide(.map(version: record.mapVersion + 1, owners: record.owners))
        }
        actions += beginTerm(committed: checkpoint.step)
        // It may be of another past than what is known.
        if !record.attempts.isEmpty { actions += decide(.attempts([])) }
        safe = -1
        lastCheckpointStep = -1
        actions += beginPast(at: checkpoint.step, of: checkpoint.past, keeping: checkpoint)
        actions += [
            .event(
                .warning,
                checkpoint.directory.isEmpty
                    ? "the cluster begins anew"
                    : "the cluster goes back to step \(checkpoint.step): \(checkpoint.directory)")
        ]
        return actions + begin(.restore(checkpoint: checkpoint.directory), step: checkpoint.step)
    }

    /// Every shard goes back, or forward, to `step` by its own log.
    mutating func goBack(to step: Int) -> [Action] {
        var actions = leaveThePast()
        let text = "the cluster resumes from step \(step), the last that every shard has (\(committed) was known)"
        actions += beginTerm(committed: step)
        actions += beginPast(at: step)
        return actions + [.event(.warning, text)] + begin(.restore(checkpoint: nil), step: step)
    }

    /// What is given up when the cluster goes back.
    private mutating func leaveThePast() -> [Action] {
        var actions: [Action] = []
        let moves = record.moves.filter {
            record.owners[$0.slice] == $0.from.number && record.members[$0.from] != nil && record.members[$0.to] != nil
        }
        if moves != record.moves { actions += decide(.moves(moves)) }
        if record.failure != nil { actions += decide(.failed(nil)) }
        actions += forgetResults()
        forgetReports()
        return actions
    }

    /// What shards said of themselves holds no longer.
    mutating func forgetReports() {
        for member in live.keys { live[member]?.report = nil }
    }

    /// What is to be done about shards that hold something else than the cluster.
    enum Reconciliation {
        /// Everyone fits.
        case none
        case act([Action])
        case wait(reason: String)
    }

    /// Compares the shards that have joined since the last time. Called when every owner is there.
    mutating func reconcile() -> Reconciliation {
        let unchecked = owners.compactMap { member in live[member]?.unchecked.map { (member, $0) } }
        if unchecked.isEmpty { return .none }
        // An operation on the classes that was called off is undone by a log, if there is one.
        let isGoingBack = record.task?.kind == .restore(checkpoint: nil)
        func cannotUndo(_ state: ShardState) -> Bool {
            isGoingBack && !state.logsSteps && state.hasSlices && state.holdings?.classVersion ?? 0 > classVersion
        }
        // A task that goes back makes everything fit, if the shards can do it.
        if let task = record.task, case .restore(let checkpoint) = task.kind,
            checkpoint != nil
                || unchecked.allSatisfy({
                    $0.1.hasSlices && ($0.1.oldest...max($0.1.oldest, $0.1.newest)).contains(task.step)
                        && !cannotUndo($0.1)
                })
        {
            clearUnchecked()
            return .none
        }
        // One that logs nothing and has skipped the step already cannot go back, and need not: the others skip it too.
        let skipped = record.task.flatMap { $0.kind == .skip ? $0.step : nil }
        func fits(_ state: ShardState) -> Bool {
            if !state.hasSlices { return committed == -1 && classVersion == 0 && configuration.origin == nil }
            if cannotUndo(state) { return false }
            if let skipped, state.newest == skipped, state.oldest == skipped { return true }
            return (state.newest == committed || state.newest == committed + 1) && state.oldest <= committed
        }
        let states = unchecked.map(\.1)
        let isMixedThere = isMixed(committed, states)
        if unchecked.allSatisfy({ fits($0.1) }), !isMixedThere {
            // The last commit may not be in the record. A shard that was not restarted may then have committed what others
            // have lost, or will compute again: all go to the same step. During a task nobody is ahead.
            let mayBeAhead = isRecordUnchecked && record.task == nil && unchecked.contains { $0.1.newest > committed }
            clearUnchecked()
            return mayBeAhead ? .act(goBack(to: committed)) : .none
        }
        func isLost(_ state: ShardState) -> Bool {
            !state.hasSlices || state.oldest > state.newest || cannotUndo(state)
        }
        if !unchecked.contains(where: { isLost($0.1) }) {
            let newest = unchecked.map(\.1.newest).min() ?? committed
            var step = unchecked.count == owners.count && !isMixedThere ? newest : min(newest, committed)
            var mixtures: [Action] = []
            while isMixed(step, states), step >= 0 {
                mixtures.append(mixture(step, unchecked))
                step -= 1
            }
            let others = owners.filter { live[$0]?.unchecked == nil }
            if unchecked.allSatisfy({ $0.1.oldest <= step })
                && (step == committed || others.allSatisfy { live[$0]?.logsSteps == true })
            {
                clearUnchecked()
                return .act(mixtures + goBack(to: step))
            }
            if !mixtures.isEmpty, owners.contains(where: { live[$0]?.logsSteps == false }), !hasSaidFinished {
                // One that logs nothing cannot go back by itself.
                clearUnchecked()
                return .act(mixtures + goBack(to: newestCheckpoint ?? beginning))
            }
            if !mixtures.isEmpty {
                return .wait(
                    reason:
                        "shards hold different attempts of step \(step + 1), and not all of them can go back to step \(step): go back "
                        + "to a checkpoint with `coordinator restore`")
            }
        }
        // Nobody is surprised by a shard that logs nothing. What does not fit it cannot make good by itself.
        let unfit = unchecked.filter { isLost($0.1) || !fits($0.1) }
        let isForgetful = owners.contains { live[$0]?.logsSteps == false }
        let surprising = unfit.filter { $0.1.logsSteps && (isLost($0.1) || !isForgetful) }.map(\.0)
        if surprising.isEmpty {
            let checkpoint = newestCheckpoint ?? beginning
            if hasSaidFinished, checkpoint.step < committed {
                let names = unfit.map { "\($0.0)" }.joined(separator: ", ")
                return .wait(
                    reason:
                        "the run had finished, and \(names) has lost its state: `coordinator restore` goes back to step "
                        + "\(checkpoint.step), and the steps after it are trained again")
            }
            clearUnchecked()
            return .act(goBack(to: checkpoint))
        }
        let names = surprising.map { "\($0)" }.joined(separator: ", ")
        return .wait(
            reason:
                "\(names) came back without the state of step \(committed): start it with its directory, or go back to a "
                + "checkpoint with `coordinator restore`, or give it up with `coordinator forget`")
    }

    /// A shard that has committed more than it said when it joined: that was an old hello, which had been long on its way, and this
    /// coordinator's record has lost commits. It must say again what it holds.
    ///
    /// - Returns: nil if the report fits.
    mutating func doubt(_ report: ShardReport, of member: MemberID, _ peer: PeerID) -> [Action]? {
        // While the cluster goes back, shards are where they were.
        guard owns(member), record.task == nil,
            report.committed > max(committed, live[member]?.unchecked?.newest ?? committed)
        else { return nil }
        isRecordUnchecked = true
        live[member]?.peer = nil
        live[member]?.isAlive = false
        let message = "\(member) has committed step \(report.committed), the cluster \(committed); join again"
        return [.refuse(peer, .notWelcomed, message: message)]
    }

    mutating func clearUnchecked() {
        isRecordUnchecked = false
        for member in live.keys { live[member]?.unchecked = nil }
    }
}
