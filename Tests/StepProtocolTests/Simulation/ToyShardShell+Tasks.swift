internal import Cluster
internal import StepProtocol

/// What happens at a step boundary: snapshots, ownership, tasks.
extension ToyShardShell {
    /// Copies a few rows for the next snapshot, and installs it when it is complete and nobody will go back behind it.
    mutating func takeSnapshots(_ plan: Plan) {
        guard logs, scenario.takesSnapshots else { return }
        let rows = rows(owned)
        let isHasty = sabotage == .installsSnapshotEarly
        for row in rows.dropFirst(roundRows).prefix(isHasty ? Toy.rowCount : 4) {
            let slice = row / Toy.rowsPerSlice
            if row % Toy.rowsPerSlice == 0 { round[slice] = snapshot(slice) }
            round[slice]?.words[row % Toy.rowsPerSlice] = words[row]
            round[slice]?.steps[row % Toy.rowsPerSlice] = committed
            roundRows += 1
        }
        guard roundRows == rows.count, !rows.isEmpty else { return }
        guard sabotage == .installsSnapshotEarly || round.values.allSatisfy({ $0.steps.max() ?? 0 <= plan.safe }) else {
            return
        }
        disk.owned = round
        (round, roundRows) = ([:], 0)
        if !isHasty { disk.sync() }
        disk.dropLog(forCopies: sabotage != .dropsLogBehindCopies)
    }

    // MARK: Ownership

    mutating func own(_ slices: [Int], _ plan: Plan, _ world: inout ToyWorld) throws(Violation) {
        operations = nil
        if undo != nil { throw Violation("\(name) takes slices over while an update is not committed") }
        let isFirst = owned.isEmpty
        if isFirst { (committed, classVersion) = (plan.committed, plan.classVersion) }
        (round, roundRows) = ([:], 0)
        for slice in slices where !owned.contains(slice) {
            if copies[slice]?.steps.allSatisfy({ $0 == committed }) == false { copies[slice] = nil }
            if copies[slice] == nil, let kept = disk.kept[slice] {
                if let flaw = flaw(ofCopy: slice) { throw Violation(flaw) }
                words.replaceSubrange(Toy.rows(slice), with: try made(slice))
                (disk.owned[slice], disk.kept[slice]) = (kept, nil)
                continue
            }
            if copies[slice] == nil, committed >= 0 {
                throw Violation("\(name) is to own \(Toy.name(slice)) after step \(committed) and has no copy of it")
            }
            // A slice that is not there is that of a run that begins.
            let copy = copies[slice] ?? ToyDisk.Snapshot(words: Toy.initial[Toy.rows(slice)], step: -1, classVersion: 0)
            words.replaceSubrange(Toy.rows(slice), with: copy.words)
            if logs { disk.owned[slice] = copy }
        }
        for slice in owned where !slices.contains(slice) {
            words.replaceSubrange(Toy.rows(slice), with: repeatElement(0, count: Toy.rowsPerSlice))
            disk.owned[slice] = nil
        }
        for slice in slices {
            copies[slice] = nil
            disk.receipts[slice] = nil
        }
        owned = slices.sorted()
        note(past: isFirst || past == 0 ? plan.past : past, mapVersion: plan.mapVersion)
        if owned.isEmpty { note(past: 0, mapVersion: plan.mapVersion) }
        if case .task(let task) = plan.activity, case .restore = task.kind { return }
        try check(&world, plan)
    }

    // MARK: Tasks

    mutating func execute(_ task: BoundaryTask, plan: Plan, _ world: inout ToyWorld) throws(Violation) -> TaskOutcome {
        if undo != nil { throw Violation("\(name) executes task \(task.number) while an update is not committed") }
        let id = StepID(term: plan.id.term, step: task.step, attempt: 0)
        var detail = ""
        switch task.kind {
        case .skip:
            log(ToyRecord(id: id, kind: .skip, classVersion: classVersion), sync: sabotage != .acknowledgesUnsynced)
            committed = task.step
            try check(&world, plan)
        case .check(let operation):
            if case .add(_, "unreadable", _) = operation, isUnlucky {
                return .failed(message: "\(name) cannot read it")
            }
            detail = operation.needsCheck ? "hash" : ""
        case .classes(let operation):
            if case .add(_, "removed", _) = operation, isUnlucky, classVersion == plan.classVersion {
                return .failed(message: "\(name) cannot read it any more")
            }
            if classVersion == plan.classVersion {
                classVersion += 1
                let record = ToyRecord(id: id, kind: .classes, operation: operation, classVersion: classVersion)
                log(record, sync: true)
                for row in rows(centers) { words[row] = try record.apply(to: words[row], row: row) }
            }
            (round, roundRows) = ([:], 0)
        case .checkpoint(let directory):
            try check(&world, plan)
            for slice in owned { world.write(words([slice]), slice, directory, step: committed, classVersion) }
            detail = "\(owned.count) slices"
        case .restore(nil):
            if owned.isEmpty, plan.shards.contains(where: { "\($0.shard)" == name }) {
                throw Violation("\(name) is to go back by its log and has nothing")
            }
            if logs {
                let isOtherClasses = classVersion > plan.classVersion && sabotage != .keepsClassesCalledOff
                disk.truncate(after: task.step, classVersion: isOtherClasses ? plan.classVersion : .max)
                disk.receipts = [:]
                if committed == task.step && !isOtherClasses { copies = [:] } else { try load(upTo: task.step) }
            } else if committed != task.step || classVersion > plan.classVersion, !owned.isEmpty {
                return .failed(message: "\(name) has step \(committed) and cannot go back to \(task.step)")
            }
            note(past: plan.past, mapVersion: mapVersion)
            recent.removeAll { $0.step > task.step }
            if logs { disk.lastTask = task.number }
            if let held = recentAttempts.last(where: { $0.step == task.step }), !owned.isEmpty {
                // The coordinator compares them before anyone goes on.
                return .done(detail: held.code)
            }
            if !owned.isEmpty { try check(&world, plan) }
        case .restore(let path?):
            let mine = plan.shards.first { "\($0.shard)" == name }
            var wanted = mine.map { Toy.indices($0.slices, $0.denseSlices) } ?? []
            if sabotage == .forgetsWhatItRestores, disk.isEmptied { wanted = [] }
            var loaded = Words(repeating: 0, count: Toy.rowCount)
            for slice in wanted {
                guard let found = world.read(slice, path, step: task.step) else {
                    if sabotage == .forgetsWhatItRestores { (owned, disk.isEmptied) = ([], true) }
                    return .failed(message: "\(path) has no \(Toy.name(slice))")
                }
                loaded.replaceSubrange(Toy.rows(slice), with: found)
            }
            (words, owned) = (loaded, wanted.sorted())
            note(past: owned.isEmpty ? 0 : plan.past, mapVersion: plan.mapVersion)
            (committed, classVersion) = (task.step, plan.classVersion)
            (copies, round, roundRows, recent) = ([:], [:], 0, [])
            saveEverything()
            try check(&world, plan)
        case .promote(let moves):
            for move in moves where "\(move.to)" == name {
                if let flaw = flaw(ofCopy: Toy.index(move.slice)) { return .failed(message: flaw) }
                _ = try made(Toy.index(move.slice))
            }
        case .handOver(let moves):
            // What was logged of a step that was undone says nothing of the slices that come.
            if logs {
                disk.truncate(after: committed)
                for move in moves where "\(move.to)" == name {
                    let slice = Toy.index(move.slice)
                    guard let copy = copies[slice], copy.steps.allSatisfy({ $0 == task.step }) else {
                        throw Violation("\(name) takes an incomplete copy of \(move.slice) over")
                    }
                    disk.receipts[slice] = copy
                }
            }
        }
        // The word of a checkpoint's files is not kept: it is written again.
        if case .promote = task.kind { return .done(detail: "") }
        if logs, detail.isEmpty { disk.lastTask = task.number }
        return .done(detail: detail)
    }

    /// Whether this shard is one of those that cannot read a file that others can.
    private var isUnlucky: Bool { name.utf8.last.map { $0 % 2 == 1 } ?? false }
}
