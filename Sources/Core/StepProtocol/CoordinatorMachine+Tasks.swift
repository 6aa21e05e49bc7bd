internal import Cluster

/// What every shard does at a step boundary.
extension CoordinatorMachine {
    /// Whether a task must not be given up: some shards may have done it already.
    static func mustHappen(_ kind: BoundaryTask.Kind) -> Bool {
        switch kind {
        case .skip, .restore, .classes: true
        case .check, .checkpoint, .handOver, .promote: false
        }
    }

    /// Begins a task: decided first, then announced.
    mutating func begin(_ kind: BoundaryTask.Kind, step: Int) -> [Action] {
        let task = BoundaryTask(number: max(record.nextTask, highestTask + 1), step: step, kind: kind)
        if case .checkpoint = kind { jobs.writer = jobLeader }
        acknowledged = [:]
        taskFailures = [:]
        return decide(.task(task)) + turn(to: .task(task))
    }

    /// No task is under way any more.
    mutating func endTask() -> [Action] {
        acknowledged = [:]
        taskFailures = [:]
        state = .waiting(reason: "")
        return decide(.task(nil))
    }

    /// Those who must acknowledge: owners, for a hand-over the receivers, and for a checkpoint the rank 0 of a job, which writes its part
    /// of the pair.
    func participants(of task: BoundaryTask) -> [MemberID] {
        switch task.kind {
        case .handOver(let moves): Set(owners + moves.map(\.to)).sorted()
        case .promote(let moves): Set(moves.map(\.to)).sorted()
        case .checkpoint: owners + (jobs.writer.map { [$0] } ?? [])
        case .skip, .restore, .check, .classes: owners
        }
    }

    /// Bytes of a hash of rows, at most.
    private static var hashLimit: Int { 128 }

    mutating func acknowledge(_ number: Int, _ outcome: TaskOutcome, from member: MemberID, _ now: Duration) -> [Action]
    {
        guard case .task(let task) = activity, task.number == number, participants(of: task).contains(member) else {
            return []
        }
        switch outcome {
        case .done(let detail):
            // The hash goes into the order, which every shard is told.
            if case .check = task.kind, detail.utf8.count > Self.hashLimit {
                taskFailures[member] = "it says a hash of \(detail.utf8.count) bytes"
                acknowledged[member] = ""
                return []
            }
            acknowledged[member] = detail
            taskFailures[member] = nil
            // It is at the boundary, whatever it held when it joined; copies are loaded wherever their keeper is.
            if !task.isPromotion { live[member]?.unchecked = nil }
            return []
        case .failed(let message):
            taskFailures[member] = message
            // Everyone is heard before an order is refused.
            if case .check = task.kind {
                acknowledged[member] = ""
                return []
            }
            if task.isPromotion {
                noteDamage(at: member, now)
                return [.event(.error, "\(member) cannot make lost slices from its copies: \(message)")]
            }
            return fail(task, "\(member): \(message)", now)
        }
    }

    private mutating func fail(_ task: BoundaryTask, _ message: String, _ now: Duration) -> [Action] {
        var actions: [Action] = []
        if taskProblem != message {
            actions = [.event(.error, "\(task.kind.name) after step \(task.step) failed: \(message)")]
        }
        if case .checkpoint = task.kind { return actions + endTask() }
        taskProblem = message
        retryAt = now + max(.seconds(2), configuration.unresponsiveBackoff)
        guard Self.mustHappen(task.kind) else { return actions + endTask() }
        // It stays decided, and is announced again: who has done it acknowledges it again.
        acknowledged = [:]
        state = .waiting(reason: "")
        return actions
    }

    /// Ends the task if everyone has acknowledged it.
    mutating func completeTask(_ now: Duration) -> [Action] {
        guard case .task(let task) = activity else { return [] }
        if case .checkpoint = task.kind, let writer = jobs.writer, live[writer] == nil {
            // Without its part it would be no pair.
            return endTask() + [
                .event(.warning, "\(writer) is gone: the checkpoint after step \(task.step) is called off")
            ]
        }
        guard participants(of: task).allSatisfy({ acknowledged[$0] != nil }) else { return [] }
        let details = acknowledged
        taskProblem = nil
        switch task.kind {
        case .skip: return commitSkipped(task.step, now) + endTask()
        case .checkpoint(let directory):
            let checkpoint = CoordinatorRecord.CheckpointRecord(
                step: task.step, directory: directory.removingSuffix(CoordinatorRecord.CheckpointRecord.partialSuffix),
                classVersion: classVersion, past: record.pasts.last?.name)
            checkpointsBeingWritten[task.number] = checkpoint
            return endTask() + [.writeCheckpoint(number: task.number, checkpoint, details: details)]
        case .restore(let checkpoint):
            if checkpoint == nil, let more = goFurtherBack(task, details) { return more }
            attempts = .fresh
            let learned = checkpoint == nil ? learnAttempt(task, details) : []
            return learned + endTask() + [.event(.info, "every shard holds the state of step \(task.step)")]
                + replanned()
        case .check(let operation): return settle(operation, details, taskFailures) + endTask()
        case .classes:
            var operations = record.operations
            if operations.indices.contains(classVersion) { operations[classVersion].afterStep = committed }
            let version = classVersion + 1
            return decide(.operations(operations, classVersion: version))
                + decide(.map(version: record.mapVersion + 1, owners: record.owners)) + endTask()
                + [.event(.info, "class operation \(version) is done after step \(committed)")]
        case .handOver(let moves): return handOver(moves) + endTask()
        case .promote(let moves): return promote(moves)
        }
    }

    /// The task that should happen at this boundary, if any: begun.
    mutating func nextTask(_ now: Duration) -> [Action]? {
        if let skipped = toSkip, skipped.step == id.step { return begin(.skip, step: id.step) }
        if record.operations.count > classVersion {
            let next = record.operations[classVersion]
            if committed >= next.afterStep ?? committed {
                // Moves are put off meanwhile, and begin anew after it: a copy must not mix rows of before and after.
                forgetReports()
                return begin(.classes(next.operation), step: committed)
            }
        }
        if let operation = orders.waiting {
            orders.waiting = nil
            return begin(.check(operation), step: committed)
        }
        let near = nearMoves
        if !near.isEmpty { return begin(.handOver(near), step: committed) }
        if isCheckpointDue(now) {
            wantsCheckpoint = false
            lastCheckpointTime = now
            lastCheckpointStep = committed
            let suffix = classVersion > 0 ? "-classes-\(classVersion)" : ""
            let place = unused("\(configuration.checkpointDirectory)/\(CheckpointName.after(committed))\(suffix)")
            return begin(
                .checkpoint(directory: place + CoordinatorRecord.CheckpointRecord.partialSuffix), step: committed)
        }
        return nil
    }

    /// Whether a checkpoint is the state in hand. What a job of an earlier past keeps of it may be another.
    private var isSaved: Bool {
        record.checkpoints.contains {
            $0.step == committed && $0.classVersion == classVersion
                && (configuration.job == nil || $0.past == record.pasts.present)
        }
    }

    /// A directory that no checkpoint has which counts: it would be gone if the new one failed or were abandoned.
    private func unused(_ place: String) -> String {
        let known = Set(record.checkpoints.map(\.directory))
        var name = place
        var number = 1
        while known.contains(name) {
            number += 1
            name = "\(place)-\(number)"
        }
        return name
    }

    private func isCheckpointDue(_ now: Duration) -> Bool {
        if configuration.checkpointDirectory.isEmpty || !checkpointsBeingWritten.isEmpty { return false }
        // Its part of the pair is missing while the job is not whole.
        if configuration.job != nil, jobWorld == nil { return false }
        if wantsCheckpoint { return !isSaved }
        let last = max(record.checkpoints.last?.step ?? configuration.origin?.step ?? -1, lastCheckpointStep)
        if committed <= last { return false }
        let every = configuration.checkpointEverySteps
        if every > 0 && committed - last >= every { return true }
        if let interval = configuration.checkpointEvery, lastCheckpointTime + interval <= now { return true }
        return false
    }

    mutating func recordCheckpoint(_ number: Int, _ problem: String?) -> [Action] {
        guard let checkpoint = checkpointsBeingWritten.removeValue(forKey: number) else { return [] }
        if problem == nil, let actions = abandonedMeanwhile(checkpoint) { return actions }
        if let problem { return [.event(.error, "the checkpoint of step \(checkpoint.step) failed: \(problem)")] }
        var checkpoints = record.checkpoints.filter { $0.directory != checkpoint.directory } + [checkpoint]
        var surplus = configuration.checkpointsKept > 0 ? max(0, checkpoints.count - configuration.checkpointsKept) : 0
        // One that shards are reading stays until the next is written.
        if case .restore(let directory?) = record.task?.kind,
            let inUse = checkpoints.firstIndex(where: { $0.directory == directory })
        {
            surplus = min(surplus, inUse)
        }
        let removed = checkpoints.prefix(surplus)
        checkpoints.removeFirst(surplus)
        return decide(.checkpoints(checkpoints)) + [.event(.info, "checkpoint \(checkpoint.directory)")]
            + removed.map { .deleteCheckpoint($0) }
    }
}

extension BoundaryTask.Kind {
    /// The task in a word, for people.
    public var name: String {
        switch self {
        case .skip: "skip"
        case .checkpoint: "checkpoint"
        case .restore: "restore"
        case .check: "check"
        case .classes: "classes"
        case .handOver: "handOver"
        case .promote: "promote"
        }
    }
}

extension String {
    /// Without `suffix`, if it ends with it: a task that an earlier version has begun has none.
    fileprivate func removingSuffix(_ suffix: String) -> String {
        hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
    }
}
