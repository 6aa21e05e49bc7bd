public import Cluster

/// The record of a coordinator whose database is lost, made again from what shards say.
///
/// Every shard keeps a copy of the record, which is at most a heartbeat old. The newest copy is what the next coordinator begins with, once
/// every shard is there that owns slices by it. Terms, the slice map and steps since come from the shards, as with a database that was put
/// back from a copy (`CoordinatorMachine`). A value without I/O.
public struct Adoption: Sendable {
    /// A shard's copy of the record. Of those of a term, the one with the larger number is newer.
    public struct Copy: Sendable {
        public var number: Int
        public var record: CoordinatorRecord

        public init(number: Int, record: CoordinatorRecord) { (self.number, self.record) = (number, record) }

        var order: (Int, Int) { (record.term, number) }
    }

    /// An operation on the classes that a shard has done, after `step`: the `version`th.
    public struct Applied: Sendable, Hashable, Codable {
        public var version: Int
        public var step: Int
        public var operation: ClassOperation

        public init(version: Int, step: Int, operation: ClassOperation) {
            (self.version, self.step, self.operation) = (version, step, operation)
        }
    }

    /// What a shard says in its hello.
    public struct Claim: Sendable {
        public var cluster: String
        public var number: Int
        public var term: Int
        public var state: ShardState
        public var copy: Copy?
        /// The operations that it has done since its copy.
        public var applied: [Applied]

        public init(
            cluster: String, number: Int, term: Int, state: ShardState, copy: Copy?, applied: [Applied] = []
        ) {
            (self.cluster, self.number, self.term, self.state) = (cluster, number, term, state)
            (self.copy, self.applied) = (copy, applied)
        }

        var held: ShardHoldings { state.holdings ?? ShardHoldings() }
        var member: MemberID { MemberID(.shard, number) }
        /// Where its directory is, for people.
        var place: String { held.place.isEmpty ? "" : " (\(held.place))" }
    }

    /// Where the adoption stands.
    public enum Outcome: Sendable {
        /// What is missing, and what to do.
        case waiting(reason: String)
        /// The shard whose copy is the newest, and the record to begin with.
        case complete(newest: MemberID, CoordinatorRecord)
    }

    private let sliceCount: Int
    private let denseSliceCount: Int
    private var claims: [MemberID: Claim] = [:]
    private var newest: (member: MemberID, cluster: String, copy: Copy)?
    /// Shards that have no number yet, by incarnation: where they are reached.
    private var strangers: [UInt64: String] = [:]

    /// - Parameters:
    ///   - sliceCount: of the class centers.
    ///   - denseSliceCount: of the backbone.
    public init(sliceCount: Int, denseSliceCount: Int) {
        (self.sliceCount, self.denseSliceCount) = (sliceCount, denseSliceCount)
    }

    /// A shard has said hello. What it said before does not count any more.
    ///
    /// - Returns: whether its copy is the newest so far.
    @discardableResult
    public mutating func hear(_ claim: Claim) -> Bool {
        guard claims.count < Plan.memberLimit || claims[claim.member] != nil else { return false }
        var claim = claim
        let copy = claim.copy
        claim.copy = nil
        claim.applied = claim.applied.suffix(Self.appliedLimit)
        claims[claim.member] = claim
        guard let copy, newest.map({ $0.copy.order < copy.order || $0.cluster != claim.cluster }) ?? true else {
            return false
        }
        newest = (claim.member, claim.cluster, copy)
        return true
    }

    /// A shard without a number has said hello: its directory is empty.
    public mutating func hear(incarnation: UInt64, endpoint: String) {
        if strangers.count < Plan.memberLimit || strangers[incarnation] != nil { strangers[incarnation] = endpoint }
    }

    /// How many operations of a shard are looked at: its copy is not that old.
    static let appliedLimit = 64

    /// Whether there is a record to begin with, or what is missing.
    public var outcome: Outcome {
        let there = claims.values.sorted { $0.number < $1.number }
        guard let first = there.first else {
            return .waiting(reason: "no shard server with a directory has said hello: start all of them")
        }
        if let other = there.first(where: { $0.cluster != first.cluster }) {
            return .waiting(
                reason:
                    "\(first.member)\(first.place) is of cluster \(first.cluster), \(other.member)\(other.place) of "
                    + "\(other.cluster): end the shard servers of one of them, and this coordinator, and begin again")
        }
        guard let newest else {
            return .waiting(
                reason:
                    "no shard that is there has a copy of the coordinator's record (\(Self.names(there))): start the others, or "
                    + "begin a new run from a checkpoint with `serve --resume` and empty directories")
        }
        if let reason = lack(newest.copy.record, there) { return .waiting(reason: reason) }
        return .complete(newest: newest.member, record(newest.copy.record, there))
    }

    private static func names(_ claims: [Claim]) -> String {
        claims.map { "\($0.member)\($0.place)" }.joined(separator: ", ")
    }

    // MARK: What is missing

    private func lack(_ record: CoordinatorRecord, _ there: [Claim]) -> String? {
        let every = Set.all(centers: sliceCount, dense: denseSliceCount)
        let held = there.reduce(into: Set<SliceName>()) { $0.formUnion($1.held.owned.union($1.held.copies)) }
        // Before the first step a slice has its initial values, wherever it is.
        let isBeginning =
            record.committed == -1 && record.classVersion == 0 && there.allSatisfy { $0.state.newest == -1 }
        let missing = isBeginning ? [] : every.subtracting(held)
        let absent = Set(record.owners.values).map { MemberID(.shard, $0) }.sorted().filter { member in
            // One that was given slices and had yet to hear of it may not know its number.
            claims[member] == nil && !(isBeginning && isStranger(record.members[member]))
        }
        guard !missing.isEmpty || !absent.isEmpty else { return nil }
        var text = "incomplete: "
        if !absent.isEmpty {
            text += absent.map { member in
                let owned = record.owners.filter { $0.value == member.number }.keys
                let place = record.members[member]?.place ?? ""
                return
                    "\(member) is missing, with \(Self.list(owned))\(place.isEmpty ? "" : " (its directory: \(place))")"
            }.joined(separator: "; ")
        }
        let unclaimed = missing.filter { slice in
            record.owners[slice].map { claims[MemberID(.shard, $0)] != nil } ?? true
        }
        if !unclaimed.isEmpty {
            text += "\(absent.isEmpty ? "" : "; ")no shard that is there has \(Self.list(unclaimed))"
        }
        text +=
            ". There are \(there.map { "\($0.member) with the steps to \($0.state.newest)" }.joined(separator: ", ")). "
        return text
            + "Start every shard server with its directory. If one is lost, begin a new run from a checkpoint with "
            + "`serve --resume` and empty directories"
    }

    private func isStranger(_ member: CoordinatorRecord.MemberRecord?) -> Bool {
        guard let member else { return false }
        return strangers[member.incarnation] != nil || strangers.values.contains(member.endpoint)
    }

    /// `slices 0-3 and dense slices 5-6`.
    private static func list(_ slices: some Collection<SliceName>) -> String {
        func part(_ isDense: Bool, _ what: String) -> String? {
            let numbers = isDense ? slices.dense : slices.centers
            return numbers.isEmpty ? nil : "\(what) \(numbers)"
        }
        return [part(false, "slices"), part(true, "dense slices")].compactMap(\.self).joined(separator: " and ")
    }

    // MARK: What is begun with

    private func record(_ copy: CoordinatorRecord, _ there: [Claim]) -> CoordinatorRecord {
        var record = copy
        record.term = there.reduce(record.term) { max($0, $1.term, $1.held.recent.map(\.term).max() ?? 0) }
        record.nextShard = there.reduce(record.nextShard) { max($0, $1.number + 1) }
        let owners = Set(record.owners.values)
        let owning = there.filter { owners.contains($0.number) }
        let present = owning.filter { $0.held.past != 0 && $0.held.past == record.pasts.present }
        // A shard prepares a step when the one before it is committed.
        record.committed = max(record.committed, (present.map(\.state.newest).max() ?? -1) - 1)
        addOperations(to: &record, there, owning)
        endTask(of: &record, isEveryonePresent: present.count == owning.count)
        return record
    }

    /// Ends a task that everyone has gone beyond.
    private func endTask(of record: inout CoordinatorRecord, isEveryonePresent: Bool) {
        guard let task = record.task else { return }
        // Going back begins a past, whose name everyone has who has gone back.
        let isGoneBack = if case .restore = task.kind { isEveryonePresent } else { false }
        // A step that is skipped is committed when that is done; other tasks follow the step that they name.
        let isSkipped = task.kind == .skip && record.committed == task.step
        if isGoneBack || isSkipped || record.committed > task.step { record.task = nil }
    }

    /// Adds the operations on the classes that shards have done since the copy. The last one may be under way: it is announced again, and
    /// whoever has done it says so.
    private func addOperations(to record: inout CoordinatorRecord, _ there: [Claim], _ owning: [Claim]) {
        let newest = owning.map(\.state.newest).max() ?? -1
        while let version = owning.map(\.held.classVersion).max(), version > record.classVersion {
            let next = record.classVersion + 1
            guard let applied = there.flatMap(\.applied).last(where: { $0.version == next }) else { return }
            if record.operations.count < next || record.operations[next - 1].operation != applied.operation {
                record.operations = record.operations.prefix(next - 1) + [.init(operation: applied.operation)]
            }
            record.committed = max(record.committed, applied.step)
            if next == version, newest <= applied.step {
                let known = owning.filter { $0.held.classVersion >= next }.map(\.held.lastTask).max() ?? 0
                let number = max(known, record.task?.number ?? record.nextTask)
                record.apply(
                    .task(BoundaryTask(number: number, step: applied.step, kind: .classes(applied.operation))))
                return
            }
            if case .classes = record.task?.kind { record.task = nil }
            record.operations[next - 1].afterStep = applied.step
            record.classVersion = next
        }
    }
}

extension CoordinatorRecord {
    /// The decisions that lead to this record.
    public var decisions: [Decision] {
        var decisions: [Decision] = [.term(term, committed: committed), .attempts(attempts)]
        if mapVersion > 0 || !owners.isEmpty { decisions.append(.map(version: mapVersion, owners: owners)) }
        decisions += members.sorted { $0.key < $1.key }.map { .member($0.key, $0.value) }
        // Numbers that were given once are not given again.
        for last in [MemberID(.shard, nextShard - 1), MemberID(.worker, nextWorker - 1)]
        where last.number >= 0 && members[last] == nil {
            decisions += [.member(last, MemberRecord(incarnation: 0, endpoint: "")), .gone(last)]
        }
        if nextTask > 1 {
            decisions.append(.task(BoundaryTask(number: nextTask - 1, step: committed, kind: .skip)))
        }
        decisions += [
            .task(task), .moves(moves), .operations(operations, classVersion: classVersion), .checkpoints(checkpoints),
            .keepers(keepers), .rates(rates), .paused(isPaused), .stopping(isStopping), .failed(failure),
            .results(step: resultsStep),
            .pasts(pasts), .safe(safe), .paces(paces), .jobs(jobs),
        ]
        return decisions
    }
}
