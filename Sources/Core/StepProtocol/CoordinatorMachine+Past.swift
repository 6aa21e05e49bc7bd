internal import Cluster

/// The pasts that the cluster went back behind, and what is left of them: checkpoints, and attempts of a step that were mixed.
extension CoordinatorMachine {
    /// Names the past of a cluster that begins, or of one whose record has no names yet.
    mutating func beginFirstPast() -> [Action] {
        decide(.pasts([Past(term: record.term, incarnation: incarnation, since: -1)]))
    }

    /// Begins a new past after going back to `step`, and ends the checkpoints of what was left. Called when its term has begun.
    ///
    /// - Parameters:
    ///   - past: the past whose state is gone back to, 0 if that is not known; nil: the present one.
    ///   - kept: the checkpoint that is gone back to.
    mutating func beginPast(
        at step: Int, of past: UInt64? = nil, keeping kept: CoordinatorRecord.CheckpointRecord? = nil
    ) -> [Action] {
        var pasts = record.pasts
        if let past {
            let index = pasts.lastIndex { $0.name == past }
            pasts.removeSubrange((index.map { $0 + 1 } ?? 0)...)
        }
        pasts.append(Past(term: record.term, incarnation: incarnation, since: step))
        var actions = decide(.pasts(pasts.suffix(Past.limit)))
        marks = marks.mapValues { min($0, step) }
        safe = min(safe, step)
        if record.safe > step { actions += decide(.safe(step)) }
        lastCheckpointStep = min(lastCheckpointStep, step)
        return actions + abandonCheckpoints(after: step, keeping: kept)
    }

    /// Whether a checkpoint is one that the present is built on.
    private func counts(_ checkpoint: CoordinatorRecord.CheckpointRecord, after step: Int, _ classVersion: Int) -> Bool
    {
        if checkpoint.step == step && checkpoint.classVersion > classVersion { return false }
        guard let past = checkpoint.past else { return checkpoint.step <= step }
        return record.pasts.contains(past, upTo: checkpoint.step)
    }

    /// Checkpoints of what was gone back behind are no longer taken for the newest, nor for what a `checkpoint` asks for.
    private mutating func abandonCheckpoints(
        after step: Int, keeping kept: CoordinatorRecord.CheckpointRecord?
    ) -> [Action] {
        let left = record.checkpoints.filter {
            $0.directory == kept?.directory || counts($0, after: step, classVersion)
        }
        if left.count == record.checkpoints.count { return [] }
        let abandoned = record.checkpoints.filter { !left.contains($0) }
        return decide(.checkpoints(left)) + abandoned.flatMap(abandon)
    }

    private func abandon(_ checkpoint: CoordinatorRecord.CheckpointRecord) -> [Action] {
        [
            .event(
                .warning,
                "\(checkpoint.directory) of step \(checkpoint.step) is of what the cluster went back behind: it is moved aside "
                    + "and counts only if `coordinator restore` names it"),
            .abandonCheckpoint(checkpoint),
        ]
    }

    /// A checkpoint whose manifest is written after the cluster went back behind it does not count.
    func abandonedMeanwhile(_ checkpoint: CoordinatorRecord.CheckpointRecord) -> [Action]? {
        guard let past = checkpoint.past, !record.pasts.isEmpty,
            !record.pasts.contains(past, upTo: checkpoint.step)
        else { return nil }
        return abandon(checkpoint)
    }

    // MARK: Attempts

    /// Whether these shards, or one of them and what was committed, are of different attempts of `step`.
    func isMixed(_ step: Int, _ states: [ShardState]) -> Bool {
        var ids = Set(states.compactMap { $0.holdings?.recent.last { $0.step == step } })
        if let known = record.attempt(of: step) { ids.insert(known) }
        return ids.count > 1
    }

    /// What is said when a step is given up because of that.
    func mixture(_ step: Int, _ states: [(MemberID, ShardState)]) -> Action {
        let held = states.compactMap { member, state in
            state.holdings?.recent.last { $0.step == step }.map { "\(member) \(Self.describe($0))" }
        }
        return .event(
            .warning,
            "shards hold different attempts of step \(step) (\(list(held, step))), as after a power cut that took the end of a log: "
                + "the step is done again")
    }

    private static func describe(_ id: StepID) -> String {
        id.term == 0 ? "skipped it" : "attempt \(id.attempt) of term \(id.term)"
    }

    /// Who holds what, and what was committed.
    private func list(_ held: [String], _ step: Int) -> String {
        let known = record.attempt(of: step).map { "; committed was \(Self.describe($0))" } ?? ""
        return held.joined(separator: ", ") + known
    }

    /// Every shard has gone back by its log, and says which attempt it holds now. If these differ, or are not the one that was
    /// committed, one step more is given up.
    mutating func goFurtherBack(_ task: BoundaryTask, _ details: [MemberID: String]) -> [Action]? {
        let held = details.filter { !$0.value.isEmpty }.sorted { $0.key < $1.key }
        guard !held.isEmpty, task.step >= 0 else { return nil }
        let known = record.attempt(of: task.step).map { [$0.code] } ?? []
        guard Set(held.map(\.value) + known).count > 1 else { return nil }
        let texts = held.map { "\($0.key) \(StepID(code: $0.value).map(Self.describe) ?? $0.value)" }
        let text =
            "shards hold different attempts of step \(task.step) (\(list(texts, task.step))): the step is done again"
        return endTask() + [.event(.warning, text)] + goBack(to: task.step - 1)
    }

    /// Every shard holds the same attempt of the step that they went back to: if it was not known, it is now.
    mutating func learnAttempt(_ task: BoundaryTask, _ details: [MemberID: String]) -> [Action] {
        let held = Set(details.values.compactMap(StepID.init(code:)))
        guard held.count == 1, let id = held.first, id.step == task.step, id.step == committed,
            record.attempt(of: id.step) == nil
        else { return [] }
        return decide(.attempts(Array((record.attempts + [id]).suffix(CoordinatorRecord.attemptLimit))))
    }
}
