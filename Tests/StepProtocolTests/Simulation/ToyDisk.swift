internal import Determinism
internal import StepProtocol

/// What a shard's directory holds, and how much of it a power cut would leave.
///
/// What is written survives the death of the process; the tail of the log that is not synced does not survive a power cut.
/// Everything but the log is replaced as a whole and synced, as a file is by renaming.
struct ToyDisk {
    /// The rows of a slice, each as of some step.
    struct Snapshot: Hashable {
        var words: Words
        var steps: [Int]
        var classVersion: Int

        init(words: some Sequence<UInt64>, step: Int, classVersion: Int) {
            self.words = Words(words)
            steps = Array(repeating: step, count: self.words.count)
            self.classVersion = classVersion
        }
    }

    /// The shard's number; nil in an empty directory.
    var number: Int?
    var owned: [Int: Snapshot] = [:]
    /// Complete copies that are not owned yet.
    var receipts: [Int: Snapshot] = [:]
    /// Second copies of other shards' slices.
    var kept: [Int: Snapshot] = [:]
    var lastTask = 0
    /// The past and the slice map that it is of.
    var past: UInt64 = 0
    var mapVersion = 0
    /// Whether its last process was on its way out.
    var isGoing = false
    /// Of a sabotaged shard: a restore has failed here.
    var isEmptied = false
    private(set) var log: [ToyRecord] = []
    private var syncedCount = 0

    mutating func append(_ record: ToyRecord) { log.append(record) }
    mutating func sync() { syncedCount = log.count }

    /// Cuts off what a write that was interrupted has left.
    mutating func open() throws(Violation) {
        if log.dropLast().contains(where: \.isTorn) { throw Violation("a torn record in the middle of a log") }
        if log.last?.isTorn == true { log.removeLast() }
        syncedCount = min(syncedCount, log.count)
    }

    /// Keeps what is synced and a random part of the rest, whose last record may be torn.
    mutating func losePower(_ random: inout KeyedRandom) -> Bool {
        let unsynced = log.count - syncedCount
        guard unsynced > 0 else { return false }
        let kept = Int(random.below(UInt64(unsynced + 1)))
        log.removeLast(unsynced - kept)
        if kept > 0, random.below(2) == 0 { log[log.count - 1].isTorn = true }
        syncedCount = log.count
        return kept < unsynced || log.last?.isTorn == true
    }

    mutating func truncate(after step: Int, classVersion: Int = .max) {
        log = effective.filter {
            $0.step <= step && !($0.step == step && $0.kind == .classes && $0.classVersion > classVersion)
        }
        sync()
    }

    /// Drops the records that no snapshot needs, from the front.
    ///
    /// - Parameter forCopies: whether those of copies are needed.
    mutating func dropLog(forCopies: Bool = true) {
        let snapshots = Array(owned.values) + (forCopies ? Array(kept.values) : [])
        let oldest = snapshots.flatMap(\.steps).min() ?? .max
        let version = owned.values.map(\.classVersion).min() ?? .max
        let needed = log.firstIndex { $0.kind == .classes ? $0.classVersion > version : $0.step > oldest } ?? log.count
        let dropped = min(needed, syncedCount)
        log.removeFirst(dropped)
        syncedCount -= dropped
    }

    /// The records that count: a later one for a step replaces everything that it makes obsolete.
    var effective: [ToyRecord] {
        var records: [ToyRecord] = []
        for record in log {
            while let last = records.last, last.step >= record.step {
                if record.kind == .classes && last.step == record.step
                    && (last.kind != .classes || last.classVersion < record.classVersion)
                {
                    break
                }
                records.removeLast()
            }
            records.append(record)
        }
        return records
    }

    /// The last step that the directory knows of, -1 if none.
    var newest: Int { max(newestSnapshot, newestReceipt, effective.last?.step ?? -1) }
    /// The last step that a power cut would leave.
    var durable: Int {
        var synced = self
        synced.log.removeLast(log.count - syncedCount)
        return synced.newest
    }
    /// The newest step of any row in a snapshot: no state before it can be computed.
    var newestSnapshot: Int { owned.values.flatMap(\.steps).max() ?? -1 }
    /// The oldest step of any row in a snapshot, -1 without one.
    var oldestSnapshot: Int { owned.values.flatMap(\.steps).min() ?? -1 }
    /// The step that copies were handed over at.
    var newestReceipt: Int { receipts.values.flatMap(\.steps).max() ?? -1 }
}
