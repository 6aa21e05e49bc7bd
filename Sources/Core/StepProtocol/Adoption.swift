public import Cluster

/// The record of a coordinator whose database is lost, made again from what shards say.
///
/// Every shard keeps a copy of the record, which is at most a heartbeat old. The newest copy is what the next coordinator begins with, once
/// every shard is there that owns slices by it. One that stays away is passed over after a while if others keep complete copies of
/// its slices: the coordinator has them made from these (`CoordinatorMachine`). Terms, the slice map and steps since come from the shards, as
/// with a database that was put back from a copy. A value without I/O or clock.
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
        /// The shard whose copy is the newest, the record to begin with, and the owners that are not there.
        case complete(newest: MemberID, CoordinatorRecord, without: [MemberID])
    }

    public let sliceCount: Int
    public let denseSliceCount: Int
    private let patience: Duration?
    /// When the first shard with a directory said hello.
    private var firstHeard: Duration?
    private var claims: [MemberID: Claim] = [:]
    private var newest: (member: MemberID, cluster: String, copy: Copy)?
    /// Shards that have no number yet, by incarnation: where they are reached.
    private var strangers: [UInt64: String] = [:]

    /// - Parameters:
    ///   - sliceCount: of the class centers.
    ///   - denseSliceCount: of the backbone.
    ///   - patience: how long owners are waited for, from the first shard on, if others keep copies of their slices. nil: for ever.
    public init(sliceCount: Int, denseSliceCount: Int, patience: Duration? = nil) {
        (self.sliceCount, self.denseSliceCount, self.patience) = (sliceCount, denseSliceCount, patience)
    }

    /// A shard has said hello. What it said before does not count any more. Who names what cannot be is not listened to.
    ///
    /// - Returns: whether its copy is the newest so far.
    @discardableResult
    public mutating func hear(_ claim: Claim, at now: Duration = .zero) -> Bool {
        firstHeard = firstHeard ?? now
        guard claims.count < Plan.memberLimit || claims[claim.member] != nil,
            ([claim.term] + claim.held.recent.map(\.term)).allSatisfy({ $0 < CoordinatorRecord.termLimit })
        else { return false }
        var claim = claim
        let copy = claim.copy
        claim.copy = nil
        claim.applied = claim.applied.suffix(Self.appliedLimit).filter { CoordinatorRecord.isStep($0.step) }
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

    /// When owners that are not there are passed over, if others keep copies of their slices.
    public var deadline: Duration? {
        patience.flatMap { patience in firstHeard.map { $0 + patience } }
    }

    /// Whether there is a record to begin with, or what is missing.
    public func outcome(at now: Duration = .zero) -> Outcome {
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
        let begun = record(newest.copy.record, there)
        let found = survey(newest.copy.record, begun, there)
        if found.isComplete { return .complete(newest: newest.member, begun, without: []) }
        guard found.isCopied else { return .waiting(reason: found.lack + Self.steps(there) + Self.advice) }
        if let deadline, deadline <= now {
            return .complete(newest: newest.member, begun, without: found.absent)
        }
        let until = patience.map { "\($0) after the first shard was heard" } ?? ""
        return .waiting(
            reason:
                "\(found.lack)What is missing can be had without it, from second copies or from the checkpoint that is being loaded, and will "
                + "be \(until). A shard that is not lost should be started with its directory before")
    }

    private static func names(_ claims: [Claim]) -> String {
        claims.map { "\($0.member)\($0.place)" }.joined(separator: ", ")
    }

    // MARK: What is missing

    /// What is there of what a record names.
    private struct Survey {
        /// Owners that are not there.
        var absent: [MemberID] = []
        /// Whether nothing is missing, and whether nothing is but what shards that are there keep copies of.
        var isComplete = false
        var isCopied = false
        /// What is missing, in words.
        var lack = ""
    }

    private func survey(_ record: CoordinatorRecord, _ begun: CoordinatorRecord, _ there: [Claim]) -> Survey {
        let every = Set.all(centers: sliceCount, dense: denseSliceCount)
        let held = there.reduce(into: Set<SliceName>()) { $0.formUnion($1.held.owned.union($1.held.copies)) }
        // Before the first step a slice has its initial values, wherever it is.
        let isBeginning =
            record.committed == -1 && record.classVersion == 0 && there.allSatisfy { $0.state.newest == -1 }
        let missing = isBeginning ? [] : every.subtracting(held)
        var found = Survey()
        found.absent = Set(record.owners.values).map { MemberID(.shard, $0) }.sorted().filter { member in
            // One that was given slices and had yet to hear of it may not know its number.
            claims[member] == nil && !(isBeginning && isStranger(record.members[member]))
        }
        found.isComplete = missing.isEmpty && found.absent.isEmpty
        if found.isComplete { return found }
        let needed = record.owners.filter { claims[MemberID(.shard, $0.value)] == nil }.keys
        // What a checkpoint replaces need not be there.
        let isElsewhere = if case .restore(.some)? = begun.task?.kind { true } else { isBeginning }
        let uncopied: Set<SliceName> =
            isElsewhere ? [] : missing.union(needed).subtracting(held).filter { !isCopied($0, begun) }
        found.isCopied = patience != nil && uncopied.isEmpty
        found.lack = "incomplete: " + lack(record, missing, uncopied, found.absent)
        return found
    }

    /// Whether a slice can be had from its keeper, by the rule by which a coordinator promotes one: its owner is not there, the keeper is,
    /// owns slices itself, and has a copy of the present classes and of the present past.
    private func isCopied(_ slice: SliceName, _ begun: CoordinatorRecord) -> Bool {
        guard let owner = begun.owners[slice], claims[MemberID(.shard, owner)] == nil,
            let number = begun.keepers[slice], begun.owners.values.contains(number),
            let keeper = claims[MemberID(.shard, number)]
        else { return false }
        return keeper.held.kept.contains(slice) && keeper.held.classVersion == begun.classVersion
            && keeper.held.past == begun.pasts.present
    }

    private func lack(
        _ record: CoordinatorRecord, _ missing: Set<SliceName>, _ uncopied: Set<SliceName>, _ absent: [MemberID]
    ) -> String {
        var parts = absent.map { member in
            let owned = record.owners.filter { $0.value == member.number }.keys
            let place = record.members[member]?.place ?? ""
            let lacking = uncopied.intersection(owned)
            var text = "\(member) is missing, with \(Self.list(owned))"
            if !place.isEmpty { text += " (its directory: \(place))" }
            if patience == nil || lacking.isEmpty { return text }
            return text + ", and no shard that is there keeps a complete copy of \(Self.list(lacking))"
        }
        let unclaimed = missing.filter { slice in
            record.owners[slice].map { claims[MemberID(.shard, $0)] != nil } ?? true
        }
        if !unclaimed.isEmpty { parts.append("no shard that is there has \(Self.list(unclaimed))") }
        return parts.joined(separator: "; ") + ". "
    }

    private static func steps(_ there: [Claim]) -> String {
        "There are \(there.map { "\($0.member) with the steps to \($0.state.newest)" }.joined(separator: ", ")). "
    }

    private static let advice =
        "Start every shard server with its directory. If one is lost, begin a new run from a checkpoint with "
        + "`serve --resume` and empty directories"

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
}
