internal import Cluster
internal import StepProtocol

/// Executes a shard's computations on the toy model and checks what must hold.
struct ToyShardShell {
    var name: String
    let scenario: Scenario
    /// Whether steps are logged; without it the directory stays empty.
    let logs: Bool
    /// Whether every record is synced before the step is prepared.
    let syncsAlways: Bool
    var disk: ToyDisk
    private(set) var words = Words(repeating: 0, count: Toy.rowCount)
    private(set) var owned: [Int] = []
    private(set) var committed = -1
    private(set) var classVersion = 0
    /// The operations on the classes, if the coordinator has told them.
    private var operations: [ClassOperation]?
    private(set) var prepared: StepID?
    /// The words before the step that is applied and not committed.
    private var undo: Words?
    /// The last records of a shard that logs nothing, for those who receive its slices.
    private var recent: [ToyRecord] = []
    /// Those of what it holds.
    var remembered: [ToyRecord] { owned.isEmpty ? [] : recent.filter { $0.step <= prepared?.step ?? committed } }
    private var unlogged: ToyRecord?
    /// The past and the slice map that the state is of.
    private(set) var past: UInt64 = 0
    private var mapVersion = 0

    /// Copies of other shards' slices that are being made.
    var making: [Int: ToyDisk.Snapshot] = [:]

    // Of the attempt that is computed.
    private var ranges: [Range<Int>] = []
    private var labels: UInt64 = 0
    private var exchange = Exchange.rows
    private var record: ToyRecord?
    /// The values of the head that it was told last.
    private var headOfNow: HeadValues?

    /// Slices that are being received: the words and the step that each is as of.
    private var copies: [Int: ToyDisk.Snapshot] = [:]
    /// Rows copied for the next snapshot so far.
    private var round: [Int: ToyDisk.Snapshot] = [:]
    private var roundRows = 0

    init(name: String, scenario: Scenario, disk: ToyDisk, logs: Bool, syncsAlways: Bool) throws(Violation) {
        self.name = name
        self.scenario = scenario
        self.disk = disk
        self.logs = logs
        self.syncsAlways = syncsAlways
        if scenario.sabotage != .replaysTornRecord { try self.disk.open() }
        (past, mapVersion) = (disk.past, disk.mapVersion)
        try load(upTo: nil)
    }

    private var sabotage: Sabotage? { scenario.sabotage }
    private var centers: [Int] { owned.filter { $0 < Toy.slices } }
    private var dense: [Int] { owned.filter { $0 >= Toy.slices } }
    private func rows(_ slices: [Int]) -> [Int] { slices.flatMap { Toy.rows($0) } }
    private func words(_ slices: [Int]) -> Words { rows(slices).map { words[$0] } }

    /// What the shard says when it joins.
    func state(of host: ShardHost) -> ShardState {
        if logs {
            var state = ShardState(
                newest: disk.newest, oldest: max(disk.newestSnapshot, newestCopy), logsSteps: true,
                hasSlices: !disk.owned.isEmpty || !disk.receipts.isEmpty)
            state.holdings = holdings(disk.owned.keys.sorted(), Array(disk.receipts.keys), host)
            return state
        }
        var state = ShardState(
            newest: owned.isEmpty ? -1 : prepared?.step ?? committed, oldest: owned.isEmpty ? 0 : committed,
            logsSteps: false,
            hasSlices: !owned.isEmpty)
        state.holdings = holdings(owned, [], host)
        return state
    }

    private func holdings(
        _ owned: [Int], _ received: [Int], _ host: ShardHost
    ) -> ShardHoldings {
        func set(_ slices: [Int], isDense: Bool) -> SliceSet {
            SliceSet(numbers: slices.map(Toy.name).filter { $0.isDense == isDense }.map(\.number))
        }
        return ShardHoldings(
            place: host.endpoint, identity: UInt64(host.index + 1), slices: set(owned, isDense: false),
            denseSlices: set(owned, isDense: true), received: set(received, isDense: false),
            receivedDense: set(received, isDense: true),
            kept: set(usableCopies, isDense: false), keptDense: set(usableCopies, isDense: true),
            mapVersion: logs ? disk.mapVersion : mapVersion,
            classVersion: classVersion,
            receivedClassVersion: received.compactMap { disk.receipts[$0]?.classVersion }.min(),
            past: logs ? disk.past : past, lastTask: disk.lastTask,
            isSynced: logs,
            recent: recentAttempts)
    }

    private var recentAttempts: [StepID] {
        let newest = logs ? .max : prepared?.step ?? committed
        let records = (logs ? disk.effective : recent).filter { $0.kind != .classes && !$0.isTorn && $0.step <= newest }
        return records.suffix(ShardHoldings.recentLimit).map {
            $0.attempt
        }
    }

    /// Notes, with the same write as what makes it so, which past and map the state is of.
    private mutating func note(past: UInt64, mapVersion: Int) {
        (self.past, self.mapVersion) = (past, mapVersion)
        if logs { (disk.past, disk.mapVersion) = (past, mapVersion) }
    }

    var durable: Int { logs ? disk.durable : committed }

    // MARK: Durable state

    /// Computes the state from the directory: at `last`, or with the last record applied and not committed.
    private mutating func load(upTo last: Int?) throws(Violation) {
        words = Words(repeating: 0, count: Toy.rowCount)
        owned = disk.owned.keys.sorted()
        (undo, prepared, record, round, roundRows) = (nil, nil, nil, [:], 0)
        copies = disk.receipts
        var steps = [Int](repeating: -1, count: Toy.rowCount)
        var versions = [Int](repeating: 0, count: Toy.sliceCount)
        for (slice, snapshot) in disk.owned {
            versions[slice] = snapshot.classVersion
            for (row, (word, step)) in zip(Toy.rows(slice), zip(snapshot.words, snapshot.steps)) {
                (words[row], steps[row]) = (word, step)
            }
        }
        classVersion = versions.max() ?? 0
        committed = owned.isEmpty ? disk.newestReceipt : disk.newestSnapshot
        if let last, committed > last {
            throw Violation("\(name) is asked to go back to step \(last), its snapshots are of step \(committed)")
        }
        let records = disk.effective.filter { $0.step <= last ?? .max }
        for (position, record) in records.enumerated() {
            if last == nil, position == records.count - 1, record.kind != .classes, record.step > committed {
                (undo, prepared) = (words, record.attempt)
            }
            for row in rows(owned) {
                if record.kind == .classes {
                    guard record.classVersion > versions[row / Toy.rowsPerSlice] else { continue }
                } else {
                    guard record.step > steps[row] else { continue }
                    if record.step != steps[row] + 1 {
                        throw Violation("\(name) has no record of step \(steps[row] + 1) for row \(row)")
                    }
                    steps[row] = record.step
                }
                words[row] = try again(record).apply(to: words[row], row: row)
                if record.isTorn { words[row] &+= 1 }
            }
            classVersion = max(classVersion, record.classVersion)
            if prepared == nil { committed = max(committed, record.step) }
        }
        if let last, !owned.isEmpty, committed != last {
            throw Violation("\(name) is asked to go back to step \(last) and has only step \(committed)")
        }
    }

    /// Makes the present state the snapshot of every slice, and the log empty.
    private mutating func saveEverything() {
        guard logs else { return }
        disk.owned = [:]
        for slice in owned { disk.owned[slice] = snapshot(slice) }
        (disk.receipts, disk.kept) = ([:], [:])
        disk.truncate(after: -2)
    }

    private func snapshot(_ slice: Int) -> ToyDisk.Snapshot {
        ToyDisk.Snapshot(words: words(([slice])), step: committed, classVersion: classVersion)
    }

    private mutating func log(_ record: ToyRecord, sync: Bool) {
        guard logs else {
            recent.removeAll { $0.step >= record.step }
            recent.append(record)
            if recent.count > 12 { recent.removeFirst() }
            return
        }
        disk.append(record)
        if sync { disk.sync() }
    }

    /// Something dies while an update is executed: the record may be written, in part or whole, and nobody was told.
    mutating func dieWhileUpdating(_ id: StepID, norm: UInt64, learningRate: Float, isTorn: Bool) {
        guard logs, var record, record.id == id else { return }
        record.norm = norm
        record.learningRate = learningRate
        record.isTorn = isTorn
        disk.append(record)
    }

    /// The directory left empty, but for whose it was.
    func emptied() throws(Violation) -> Self {
        var disk = ToyDisk()
        (disk.number, disk.isGoing) = (self.disk.number, self.disk.isGoing)
        return try Self(name: name, scenario: scenario, disk: disk, logs: logs, syncsAlways: syncsAlways)
    }

    /// Takes over the classes that there are: for a shard that owns nothing and has not seen what changed them.
    mutating func adopt(_ operations: [ClassOperation]) {
        if owned.isEmpty { (self.operations, classVersion, copies) = (operations, operations.count, [:]) }
    }

    // MARK: Steps

    /// The words of all micro-batches, from those of each rank.
    private func assemble(_ payloads: [Words], perBatch: Int = 1) throws(Violation) -> Words {
        var words = Words(repeating: 0, count: scenario.microBatches * perBatch)
        for (range, payload) in zip(ranges, payloads) {
            guard range.count * perBatch == payload.count else {
                throw Violation("\(name): \(payload.count) words for micro-batches \(range)")
            }
            words.replaceSubrange(range.lowerBound * perBatch..<range.upperBound * perBatch, with: payload)
        }
        return words
    }

    /// - Parameter plan: the one that was followed when the computation was asked for.
    /// - Returns: nil for `commit`, `rollback`, `own` and `task`.
    mutating func execute(
        _ computation: ShardComputation<Words>, _ id: StepID, plan: Plan, _ world: inout ToyWorld
    ) throws -> ShardResult<Words>? {
        switch computation {
        case .sample(let ranks, let learningRate, let exchange, let head):
            if undo != nil { throw Violation("\(name) samples \(id) while an update is not committed") }
            self.exchange = exchange
            ranges = ranks.map(\.microBatches)
            if sabotage == .swapsRanks { ranges.sort { $0.upperBound > $1.upperBound } }
            labels = Toy.fold(try assemble(ranks.map(\.payload)))
            record = ToyRecord(id: id, kind: exchange == .features ? .features : .rows, labels: labels)
            record?.learningRate = learningRate
            if let head { record?.head = head }
            headOfNow = head
            record?.classVersion = classVersion
            return .sample(sampled(id.step, head))
        case .forward(let rank, let microBatches, let features):
            if scenario.poisonsShards && scenario.poisoned.contains(id.step) {
                throw ToyRefusal(message: "a feature is nan")
            }
            let sampled = sampled(id.step, record?.head)
            guard exchange == .features else { return .forward(rank: rank, sampled) }
            guard features.count == microBatches.count else {
                throw Violation("\(name): \(features.count) features of micro-batches \(microBatches)")
            }
            let partials = features.flatMap { feature in
                centers.indices.map { Toy.partial(sampled: sampled[Toy.rows($0)], feature: feature) }
            }
            return .forward(rank: rank, partials)
        case .backward(let forward, let backward):
            if exchange == .features {
                let whole = forward.map { Words((sabotage == .swapsParts ? $0.reversed() : $0).joined()) }
                let (normalizers, features) = (try assemble(backward), try assemble(whole))
                record?.normalizers = normalizers
                record?.features = features
            } else {
                let rows = rows(centers)
                let gradients = try assemble(backward, perBatch: rows.count)
                for (position, row) in rows.enumerated() {
                    let column = stride(from: position, to: gradients.count, by: rows.count).lazy.map { gradients[$0] }
                    record?.gradients[row] = Toy.fold(column)
                }
            }
            return .backward
        case .dense(let payloads):
            let slices = dense + keptDense(plan)
            let gradients = try assemble(payloads, perBatch: slices.count)
            return .dense(
                slices.enumerated().compactMap { position, slice in
                    let column = stride(from: position, to: gradients.count, by: slices.count).lazy.map {
                        gradients[$0]
                    }
                    let sum = Toy.fold(column)
                    record?.gradients[Toy.rowCount + slice] = sum
                    return position < dense.count ? Toy.mix(9, sum) : nil
                })
        case .update(let payload, let learningRate):
            if undo != nil && sabotage == nil { throw Violation("\(name) applies \(id) twice") }
            guard var record, let norm = scenario.hasJobs ? 0 : payload.first else {
                throw Violation("\(name) updates \(id) without its inputs")
            }
            record.norm = norm
            record.learningRate = learningRate
            if sabotage != .commitsWhenPrepared { undo = undo ?? words }
            for row in rows(owned) { words[row] = try record.apply(to: words[row], row: row) }
            prepared = id
            if sabotage == .answersBeforeLogging { unlogged = record } else { log(record, sync: syncsAlways) }
            return .update(words(dense))
        case .parameters(let rank):
            if undo != nil && sabotage == nil { throw Violation("\(name) gives parameters not committed") }
            return .parameters(rank: rank, words(dense))
        case .rollback:
            if let undo, sabotage != .forgetsRollback { words = undo }
            (undo, prepared, unlogged) = (nil, nil, nil)
            return nil
        case .commit:
            guard prepared == id else { throw Violation("\(name) commits \(id) and not \(prepared as Any)") }
            committed = id.step
            (undo, prepared) = (nil, nil)
            if let unlogged { log(unlogged, sync: syncsAlways) }
            unlogged = nil
            try check(&world, plan)
            takeSnapshots(plan)
            return nil
        case .own(let slices, let denseSlices, _):
            try own(Toy.indices(slices, denseSlices), plan, &world)
            return nil
        case .task: throw Violation("\(name): a task gives no result")
        }
    }

    private func sampled(_ step: Int, _ head: HeadValues?) -> Words {
        words(centers).map { Toy.sampled(row: $0, step: step, labels: labels, head: head ?? Toy.head(0)) }
    }

    /// A record as it is done again.
    func again(_ record: ToyRecord) -> ToyRecord {
        guard sabotage == .replaysWithValuesOfNow else { return record }
        var changed = record
        changed.head = headOfNow ?? Toy.head(0)
        return changed
    }

    /// The state is that of the undisturbed run, unless a plan of a past that does not count any more is followed.
    private func check(_ world: inout ToyWorld, _ plan: Plan) throws(Violation) {
        // The coordinator learns of a class change when everyone has made it.
        guard plan.id.term == world.term, classVersion <= plan.classVersion else { return }
        let expected = world.oracle.state(after: committed, classVersion: classVersion)
        for slice in owned where words([slice]) != Words(expected[Toy.rows(slice)]) {
            throw Violation(
                "\(name) differs from the undisturbed run in \(Toy.name(slice)) after step \(committed), classes \(classVersion)"
            )
        }
    }

    // MARK: Snapshots

    /// Copies a few rows for the next snapshot, and installs it when it is complete and nobody will go back behind it.
    private mutating func takeSnapshots(_ plan: Plan) {
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

    private mutating func own(_ slices: [Int], _ plan: Plan, _ world: inout ToyWorld) throws(Violation) {
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

    // MARK: Transfers

    func content(_ part: TransferRequest.Part, of slice: Int) throws(Violation) -> TransferReply<ToyParcel>.Content {
        switch part {
        case .chunk(let index):
            if undo != nil { throw Violation("\(name) gives a row of an update that is not committed") }
            if !owned.contains(slice) {
                throw Violation("\(name) is asked for \(Toy.name(slice)), which it does not own")
            }
            return .chunk(count: Toy.rowsPerSlice, step: committed, .row(words[Toy.rows(slice).lowerBound + index]))
        case .record(let after):
            if after >= committed { return .upToDate(step: committed) }
            let records = logs ? disk.effective : recent
            guard let record = records.first(where: { $0.step == after + 1 && $0.kind != .classes }) else {
                return .gone
            }
            return .record(step: record.step, header: "", .record(record))
        }
    }

    /// - Parameter operations: those on the classes that the slice has seen, if that is known.
    mutating func store(
        _ slice: Int, index: Int, step: Int, _ word: UInt64, classVersion: Int, operations: [ClassOperation]?
    ) throws(Violation) {
        if owned.isEmpty, disk.receipts.isEmpty {
            if classVersion != self.classVersion {
                throw Violation("\(name) receives \(Toy.name(slice)) and knows classes \(self.classVersion)")
            }
            if let operations, let known = self.operations, operations != known {
                throw Violation("\(name) receives \(Toy.name(slice)) after \(operations) and knows \(known)")
            }
        }
        if copies[slice] == nil {
            copies[slice] = ToyDisk.Snapshot(
                words: repeatElement(0, count: Toy.rowsPerSlice), step: -2, classVersion: classVersion)
            disk.receipts[slice] = nil
        }
        copies[slice]?.classVersion = classVersion
        copies[slice]?.words[index] = word
        copies[slice]?.steps[index] = step
    }

    mutating func replay(_ record: ToyRecord, on slice: Int) throws(Violation) {
        guard var copy = copies[slice] else { return }
        for (index, row) in Toy.rows(slice).enumerated() {
            guard copy.steps[index] < record.step || sabotage == .replaysOnRowsAhead else { continue }
            copy.words[index] = try again(record).apply(to: copy.words[index], row: row)
            copy.steps[index] = record.step
        }
        copies[slice] = copy
    }

    mutating func drop(_ slice: Int) {
        copies[slice] = nil
        disk.receipts[slice] = nil
    }
}
