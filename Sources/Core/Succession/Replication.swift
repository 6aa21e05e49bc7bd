/// What a coordinator does so that its standby has every decision before it takes effect.
///
/// A value without I/O or clock. The shell tells it of every write (`wrote`), asks whether what follows must wait (`mustWait`), and answers
/// the standby's questions by it. `Decisions` is what is written in one transaction, `Held` what waits.
public struct Replication<Decisions: Sendable, Held: Sendable>: Sendable {
    /// What was written in one transaction.
    public struct Entry: Sendable {
        /// From 1, in the order of writing, since this process began.
        public var number: Int
        public var decisions: Decisions
    }

    /// A question of the standby: `have` is the last entry that it has on its disk, of the coordinator's process `session`.
    public struct Question: Sendable, Hashable {
        public var standby: CoordinatorView.Standby
        public var session: UInt64
        public var have: Int
        /// An operator has told it to take over.
        public var wantsToLead: Bool

        public init(standby: CoordinatorView.Standby, session: UInt64, have: Int, wantsToLead: Bool = false) {
            (self.standby, self.session, self.have, self.wantsToLead) = (standby, session, have, wantsToLead)
        }
    }

    /// How the standby is answered.
    public enum Answer: Sendable {
        /// The shell is to decide this view, and then answer with everything.
        case attach(CoordinatorView)
        /// Everything that is written, up to this entry.
        case everything(upTo: Int)
        case entries([Entry])
        /// There is nothing new.
        case nothing
        /// It has everything and is to lead: the shell is to decide this view, answer, and end.
        case handOver(CoordinatorView)
    }

    /// How the coordinator stands.
    public enum Outcome: Sendable, Hashable {
        case leads
        /// The shards agree that it goes on alone: the shell is to decide this view.
        case alone(CoordinatorView)
        /// It can reach neither its standby nor a majority of the shards.
        case isolated
        /// The shards have agreed on the standby: the shell is to decide this view, as if it had handed over.
        case superseded(CoordinatorView)
        /// Shards know of a later view: this coordinator has been away for long.
        case isOutdated
    }

    /// Of this process.
    public let session: UInt64
    /// Of this coordinator.
    public let identity: UInt64
    public private(set) var view: CoordinatorView
    /// How long the standby may be silent.
    private let patience: Duration
    private var last = 0
    /// The last entry that nothing may follow before the standby has it.
    private var lastAwaited = 0
    private var acknowledged = 0
    /// The entry with which the standby has everything.
    private var joined = 0
    private var entries: [Entry] = []
    private var held: [(after: Int, what: Held)] = []
    private var lastHeard: Duration
    private var joinedAt: Duration
    private var proposer: (value: BallotProposer, since: Duration, askedAt: Duration)?

    /// Entries that are kept for a standby that is slow; it gets everything anew if there are more.
    static var entryLimit: Int { 4096 }

    public init(
        _ view: CoordinatorView, identity: UInt64, session: UInt64, patience: Duration, at now: Duration
    ) {
        (self.view, self.identity, self.session, self.patience, lastHeard) = (view, identity, session, patience, now)
        joinedAt = now
        // What is on this disk may not be on the other: nothing follows before it has said that it is there.
        if view.standby != nil { (last, lastAwaited, joined) = (1, 1, 1) }
    }

    // MARK: Writing

    /// Decisions are on this disk.
    ///
    /// - Parameters:
    ///   - mustWait: whether what follows waits for the standby.
    ///   - view: as it is now.
    public mutating func wrote(_ decisions: Decisions, mustWait: Bool, view: CoordinatorView) {
        let hadStandby = self.view.standby != nil
        self.view = view
        last += 1
        guard view.standby != nil else {
            entries = []
            return
        }
        if mustWait { lastAwaited = last }
        if !hadStandby { joined = last }
        // One that joins gets everything.
        guard hadStandby, entries.count < Self.entryLimit else {
            entries = []
            return
        }
        entries.append(Entry(number: last, decisions: decisions))
    }

    /// Whether what comes now must wait until the standby has what was decided.
    public var mustWait: Bool { view.standby != nil && acknowledged < lastAwaited }

    /// Whether a standby has got everything and answers: what is new is there soon.
    public var isInStep: Bool { view.standby != nil && acknowledged >= joined && proposer == nil }

    /// Keeps something until the standby has every decision so far.
    public mutating func hold(_ what: Held) { held.append((lastAwaited, what)) }

    /// What need not wait any more, in order.
    public mutating func release() -> [Held] {
        let limit = view.standby == nil ? Int.max : acknowledged
        let count = held.prefix { $0.after <= limit }.count
        defer { held.removeFirst(count) }
        return held.prefix(count).map(\.what)
    }

    public var heldCount: Int { held.count }

    /// The view to decide now so that these shards vote; nil: it is as it should be, or must wait.
    ///
    /// - Parameter shards: numbers of those with a directory.
    public func change(voters shards: Set<Int>) -> CoordinatorView? {
        guard view.standby != nil, !mustWait, proposer == nil, let newest = view.voters.last else { return nil }
        var next = view
        if view.voters.count > 1 {
            next.voters = [newest]
        } else if newest != shards {
            next.voters = [newest, shards]
        } else {
            return nil
        }
        return next
    }

    // MARK: The standby

    /// How long the standby has been silent; nil if there is none.
    public func silence(at now: Duration) -> Duration? { view.standby == nil ? nil : now - lastHeard }

    /// Why a coordinator cannot stand by: another one does. Nil if it can. Its questions are not to be answered otherwise.
    public func objection(to question: Question) -> String? {
        guard let standby = view.standby, standby.id != question.standby.id else { return nil }
        return
            "\(standby.endpoint) stands by already: end that one for good, and ask again when this coordinator goes on alone"
    }

    /// The standby asks for what is new (`objection`). Afterwards more may be released.
    ///
    /// - Parameter shards: numbers of those with a directory: they vote if the standby joins now.
    public mutating func answer(_ question: Question, shards: Set<Int>, at now: Duration) -> Answer {
        if proposer != nil { return .nothing }
        guard view.standby != nil else {
            (lastHeard, joinedAt) = (now, now)
            return .attach(CoordinatorView(number: view.number + 1, standby: question.standby, voters: [shards]))
        }
        // One that answers and does not get on, because its disk is full for instance, is as good as none.
        let isGettingEverything = question.session != session && now - joinedAt < patience * 4
        let isUseful = !mustWait || isGettingEverything || question.session == session && question.have > acknowledged
        if isUseful { lastHeard = now }
        guard question.session == session, question.have >= acknowledged, question.have <= last else {
            return .everything(upTo: last)
        }
        acknowledged = question.have
        entries.removeAll { $0.number <= acknowledged }
        if acknowledged < last {
            return entries.first?.number == acknowledged + 1 ? .entries(entries) : .everything(upTo: last)
        }
        guard question.wantsToLead else { return .nothing }
        return .handOver(CoordinatorView(number: view.number + 1, successor: question.standby.endpoint))
    }

    // MARK: Without the standby

    /// What to ask shards that listen; nil: nothing.
    public var question: BallotQuestion? { proposer?.value.question }

    /// A shard says what it has promised.
    public mutating func hear(_ vote: BallotVote, from shard: Int) { proposer?.value.hear(vote, from: shard) }

    /// To be asked a few times a second.
    ///
    /// - Parameter chance: below 1, drawn: two that ask against each other take turns.
    public mutating func outcome(at now: Duration, chance: Double) -> Outcome {
        guard view.standby != nil else { return .leads }
        guard let known = proposer else {
            if now - lastHeard < patience { return .leads }
            proposer = (BallotProposer(after: view, candidate: identity, process: session), now, now)
            return outcome(at: now, chance: chance)
        }
        // Before there are shards nobody else can lead either.
        if view.hasNoVoters { return goAlone() }
        switch known.value.outcome {
        case .chosen(identity): return goAlone()
        case .chosen: return .superseded(CoordinatorView(number: view.number + 1, successor: view.standby?.endpoint))
        case .passed: return .isOutdated
        case .open: break
        }
        if now - known.since > patience * 2 { return .isolated }
        if now - known.askedAt > patience * (0.25 + 0.5 * chance) {
            proposer?.value.askAgain()
            proposer?.askedAt = now
        }
        return .leads
    }

    private mutating func goAlone() -> Outcome {
        proposer = nil
        return .alone(CoordinatorView(number: view.number + 1))
    }
}
