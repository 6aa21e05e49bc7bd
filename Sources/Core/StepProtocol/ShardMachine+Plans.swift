internal import Cluster

/// What a shard does with a plan: commit, adopt a slice map, execute a boundary task, leave an attempt behind.
extension ShardMachine {
    mutating func follow(_ new: Plan) -> [Action] {
        if let plan, !new.supersedes(plan) { return [] }
        plan = new
        return act()
    }

    /// Does what the newest plan asks for, as far as it is not done. While a task is executed everything else waits.
    private mutating func act() -> [Action] {
        guard let plan, runningTask == nil else { return [] }
        var actions = learnCommitted(plan)
        guard plan.mapVersion > 0 else { return actions }
        let mine = plan.shards.first { $0.shard == member }
        if mine == nil {
            // The steps go on without this shard, which has nothing that could be behind.
            actions += undo()
            committed = plan.committed
        }
        // What a checkpoint is loaded into is adopted with it, when it is there.
        if mapVersion != plan.mapVersion, !plan.isLoadingCheckpoint, isFit(for: plan, mine) {
            actions += undo()
            let (slices, denseSlices) = (mine?.slices ?? [], mine?.denseSlices ?? [])
            actions.append(
                .compute(plan.id, .own(slices: slices, denseSlices: denseSlices, mapVersion: plan.mapVersion)))
            mapVersion = plan.mapVersion
            ownsSlices = mine != nil
            owned = mine?.names ?? []
            copies.subtract(owned)
            kept.subtract(owned)
        }
        if case .task(let task) = plan.activity { return actions + begin(task, mine) }
        if plan.id > current && plan.id.step == committed + 1 && plan.committed == committed {
            actions += adopt(plan.id)
        }
        return actions
    }

    /// Whether the shard's state is that of the boundary, or will be restored there.
    ///
    /// A shard must not take slices as its own that it does not have: it would say so when it joins. It may have lost its state, or it
    /// waits for what it is to load from a checkpoint. Then it has nothing to go back by either.
    private func isFit(for plan: Plan, _ mine: Plan.Shard?) -> Bool {
        // Before the first step, with the classes of the beginning, a slice that is nowhere has its initial values.
        let isBeginning = max(plan.committed, committed) == -1 && plan.classVersion == 0
        if !isBeginning, let mine, !mine.names.isSubset(of: owned.union(copies).union(kept)) { return false }
        if case .task(let task) = plan.activity {
            switch task.kind {
            case .restore: return true
            case .skip where committed == task.step: return true
            default: break
            }
        }
        return plan.committed == committed
    }

    // MARK: Boundary tasks

    private mutating func begin(_ task: BoundaryTask, _ mine: Plan.Shard?) -> [Action] {
        let isOwner = mine != nil
        if hasDone(task), isStillDone(task) {
            return [.acknowledge(number: task.number, lastTask.outcome)]
        }
        // An owner that has lost its state has not adopted the map: it can only load a checkpoint.
        let hasItsSlices = mapVersion == plan?.mapVersion
        var isReady = committed == task.step && hasItsSlices
        var isDone = !isOwner
        switch task.kind {
        case .skip:
            isDone = isDone || committed == task.step  // found so in its directory
            isReady = hasItsSlices && (committed == task.step || committed == task.step - 1)
        case .handOver(let moves):
            let isReceiving = moves.contains { $0.to == member }
            isDone = isDone && !isReceiving
            isReady = isReady && (!isReceiving || completedCopies == task.number)
        case .restore(let checkpoint):
            isReady = checkpoint != nil || hasItsSlices
            isDone = false  // whoever owns nothing may still have logged something
        case .promote(let moves):
            isDone = !moves.contains { $0.to == member }
            isReady = true  // whatever step it is at
        case .check, .checkpoint, .classes: break
        }
        guard isReady else { return [] }
        // A step that every shard has prepared may be the one that the cluster resumes from.
        var actions: [Action] = []
        if case .restore(nil) = task.kind, let plan, plan.committed == task.step { actions += learnCommitted(plan) }
        actions += undo()
        if isDone {
            (lastTask, lastDone) = ((task.number, .done(detail: "")), task)
            return actions + [.acknowledge(number: task.number, .done(detail: ""))]
        }
        runningTask = task
        runningMap = plan.map { ($0.mapVersion, mine) }
        let id = StepID(term: plan?.id.term ?? 0, step: task.step, attempt: 0)
        return actions + [.compute(id, .task(task))]
    }

    /// Whether it was the last to be done. Numbers do not tell: a promotion comes between a task and its end.
    func hasDone(_ task: BoundaryTask) -> Bool { lastDone.map { $0 == task } ?? (task.number <= lastTask.number) }

    /// What a shard did before it was restarted is undone if it is the last thing in its log.
    private func isStillDone(_ task: BoundaryTask) -> Bool {
        switch task.kind {
        case .skip: committed == task.step
        // One that has adopted another map since has not loaded this one's slices.
        case .restore: committed == task.step && (mapVersion == nil || mapVersion == plan?.mapVersion)
        case .check, .checkpoint, .classes, .handOver, .promote: true
        }
    }

    mutating func finish(_ number: Int, _ outcome: TaskOutcome) -> [Action] {
        guard let task = runningTask, task.number == number else { return [] }
        runningTask = nil
        guard case .done = outcome else {
            // The coordinator decides whether it is tried again: with the next plan that still asks for it.
            return [.acknowledge(number: number, outcome)] + actUnless(number)
        }
        (lastTask, lastDone) = ((number, outcome), task)
        switch task.kind {
        case .restore(.some):
            (committed, transfersThisStep) = (task.step, 0)
            if let runningMap {
                (mapVersion, ownsSlices) = (runningMap.version, runningMap.mine != nil)
                (owned, copies, kept) = (runningMap.mine?.names ?? [], [], [])
            }
        case .skip: (committed, transfersThisStep) = (task.step, 0)
        case .restore(nil): (committed, transfersThisStep, copies) = (task.step, 0, [])
        case .handOver(let moves): for move in moves where move.to == member { copies.insert(move.slice) }
        case .check, .checkpoint, .classes, .promote: break
        }
        return [.acknowledge(number: number, outcome)] + actUnless(number)
    }

    /// Follows the plan that came while a task was executed, unless it is still about the task.
    private mutating func actUnless(_ number: Int) -> [Action] {
        if case .task(let task)? = plan?.activity, task.number == number { return [] }
        return act()
    }

    mutating func completeCopies(_ task: Int) -> [Action] {
        completedCopies = max(completedCopies, task)
        guard case .task(let wanted)? = plan?.activity, wanted.number == task, !hasDone(wanted) else { return [] }
        return act()
    }
}

extension Plan {
    /// Whether everything that shards hold is about to be replaced by a checkpoint.
    var isLoadingCheckpoint: Bool {
        if case .task(let task) = activity, case .restore(.some) = task.kind { true } else { false }
    }
}
