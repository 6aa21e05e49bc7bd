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
    var words = Words(repeating: 0, count: Toy.rowCount)
    var owned: [Int] = []
    var committed = -1
    var classVersion = 0
    /// The operations on the classes, if the coordinator has told them.
    var operations: [ClassOperation]?
    var prepared: StepID?
    /// The words before the step that is applied and not committed.
    var undo: Words?
    /// The last records of a shard that logs nothing, for those who receive its slices.
    var recent: [ToyRecord] = []
    /// Those of what it holds.
    var remembered: [ToyRecord] { owned.isEmpty ? [] : recent.filter { $0.step <= prepared?.step ?? committed } }
    var unlogged: ToyRecord?
    /// The past and the slice map that the state is of.
    var past: UInt64 = 0
    var mapVersion = 0

    /// Copies of other shards' slices that are being made.
    var making: [Int: ToyDisk.Snapshot] = [:]

    // Of the attempt that is computed.
    var ranges: [Range<Int>] = []
    var labels: UInt64 = 0
    var exchange = Exchange.rows
    var record: ToyRecord?
    /// The values of the head that it was told last.
    var headOfNow: HeadValues?

    /// Slices that are being received: the words and the step that each is as of.
    var copies: [Int: ToyDisk.Snapshot] = [:]
    /// Rows copied for the next snapshot so far.
    var round: [Int: ToyDisk.Snapshot] = [:]
    var roundRows = 0

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

    var sabotage: Sabotage? { scenario.sabotage }
    var centers: [Int] { owned.filter { $0 < Toy.slices } }
    var dense: [Int] { owned.filter { $0 >= Toy.slices } }
    func rows(_ slices: [Int]) -> [Int] { slices.flatMap { Toy.rows($0) } }
    func words(_ slices: [Int]) -> Words { rows(slices).map { words[$0] } }

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

    func holdings(
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

    var recentAttempts: [StepID] {
        let newest = logs ? .max : prepared?.step ?? committed
        let records = (logs ? disk.effective : recent).filter { $0.kind != .classes && !$0.isTorn && $0.step <= newest }
        return records.suffix(ShardHoldings.recentLimit).map {
            $0.attempt
        }
    }

    /// Notes, with the same write as what makes it so, which past and map the state is of.
    mutating func note(past: UInt64, mapVersion: Int) {
        (self.past, self.mapVersion) = (past, mapVersion)
        if logs { (disk.past, disk.mapVersion) = (past, mapVersion) }
    }

    var durable: Int { logs ? disk.durable : committed }

    // MARK: Durable state

    /// Computes the state from the directory: at `last`, or with the last record applied and not committed.
    mutating func load(upTo last: Int?) throws(Violation) {
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
    mutating func saveEverything() {
        guard logs else { return }
        disk.owned = [:]
        for slice in owned { disk.owned[slice] = snapshot(slice) }
        (disk.receipts, disk.kept) = ([:], [:])
        disk.truncate(after: -2)
    }

    func snapshot(_ slice: Int) -> ToyDisk.Snapshot {
        ToyDisk.Snapshot(words: words(([slice])), step: committed, classVersion: classVersion)
    }

    mutating func log(_ record: ToyRecord, sync: Bool) {
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
}
