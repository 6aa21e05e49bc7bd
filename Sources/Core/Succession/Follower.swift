/// What a standby knows of the coordinator that it stands by for, and when it takes over.
///
/// A value without I/O or clock.
public struct Follower: Sendable {
    public enum Outcome: Sendable, Hashable {
        case follows
        /// It leads from now on: the shell is to write this view, and then begin a term.
        case leads(CoordinatorView)
        /// Another coordinator decides in a later view: what is here is old, and everything is to be asked for anew.
        case isOutdated
    }

    /// Of this coordinator.
    public let identity: UInt64
    private let process: UInt64
    /// How long the coordinator may be silent.
    public var patience: Duration
    /// Whether it takes over by itself.
    private let isAutomatic: Bool
    /// Of the coordinator's process that the last answer came from; 0 before the first.
    public private(set) var session: UInt64 = 0
    /// The last entry of it that is on this disk.
    public private(set) var have = 0
    public private(set) var view: CoordinatorView
    private var lastHeard: Duration
    /// Of the question that an answer is waited for, which counts upwards.
    private var asked = 0
    private var proposer: (value: BallotProposer, askedAt: Duration)?
    private var isOutdated = false
    private var grant: CoordinatorView?
    /// Since an operator has told it to take over.
    private var orderedAt: Duration?

    public init(
        _ view: CoordinatorView, identity: UInt64, process: UInt64, patience: Duration, isAutomatic: Bool,
        at now: Duration
    ) {
        (self.view, self.identity, self.process) = (view, identity, process)
        (self.patience, self.isAutomatic, lastHeard) = (patience, isAutomatic, now)
    }

    /// Whether every decision that has taken effect was here when the coordinator was heard last.
    public var isInView: Bool { view.standby?.id == identity && !isOutdated }

    public func silence(at now: Duration) -> Duration { now - lastHeard }

    /// Whether the coordinator is to be asked to hand over.
    public var wantsToLead: Bool { orderedAt != nil }

    // MARK: Following

    /// Asks what is new.
    ///
    /// - Returns: the number of the question. Answers to earlier ones do not count: they may be older than what is here.
    public mutating func ask() -> Int {
        asked += 1
        return asked
    }

    /// Whether this is the answer that is waited for. It is taken once.
    public mutating func takes(answerTo question: Int) -> Bool {
        guard question == asked else { return false }
        asked += 1
        return true
    }

    /// Whether entries that follow `have` of the session are the next here.
    public func fits(session: UInt64, first: Int) -> Bool { session == self.session && first == have + 1 }

    /// Entries of the coordinator are on this disk.
    public mutating func wrote(upTo entry: Int, session: UInt64, view: CoordinatorView, at now: Duration) {
        (self.session, have, self.view) = (session, entry, view)
        isOutdated = false
        heard(at: now)
    }

    /// The coordinator has answered.
    public mutating func heard(at now: Duration) {
        lastHeard = now
        if proposer != nil, orderedAt == nil { proposer = nil }
    }

    /// The coordinator has handed over in `view`.
    public mutating func handedOver(_ view: CoordinatorView) {
        // Shards may have agreed that the other goes on alone: it has thought better of it.
        if view.number == self.view.number + 1, self.view.standby?.id == identity {
            grant = CoordinatorView(number: view.number)
        }
    }

    // MARK: Taking over

    /// An operator orders it to take over.
    ///
    /// - Returns: why it does not; nil if it does.
    public mutating func order(at now: Duration) -> String? {
        guard isInView else {
            return
                "this standby has not got every decision of the coordinator: it cannot take over. Wait for it to be in step, or begin again from "
                + "what the shards have with `coordinator serve --adopt`"
        }
        if view.hasNoVoters { return "there is nothing to take over: no shard server with a directory has joined yet" }
        if orderedAt == nil { orderedAt = now }
        return nil
    }

    /// An operator orders it to take over, and knows that nobody else decides: no shard is asked.
    ///
    /// - Returns: why it does not; nil if it does.
    public mutating func force() -> String? {
        guard view.number > 0 else { return "this standby has never had a decision of the coordinator" }
        // Above every view that shards can know of: no earlier promise counts.
        grant = CoordinatorView(number: view.number + 1_000_000)
        return nil
    }

    /// What to ask shards that have come here; nil: nothing.
    public var question: BallotQuestion? { proposer?.value.question }

    public var progress: (agreed: Int, needed: Int)? { proposer?.value.progress }

    public mutating func hear(_ vote: BallotVote, from shard: Int) { proposer?.value.hear(vote, from: shard) }

    /// To be asked a few times a second; `chance` as in `Replication.outcome`.
    public mutating func outcome(at now: Duration, chance: Double) -> Outcome {
        if let grant { return .leads(grant) }
        guard isInView, !view.hasNoVoters else { return isOutdated ? .isOutdated : .follows }
        guard let known = proposer else {
            // One that answers is asked to hand over.
            if now - lastHeard >= patience, isAutomatic || orderedAt != nil {
                proposer = (BallotProposer(after: view, candidate: identity, process: process), now)
            }
            return .follows
        }
        switch known.value.outcome {
        case .chosen(identity): return .leads(CoordinatorView(number: view.number + 1))
        case .chosen, .passed:
            (isOutdated, proposer, orderedAt) = (true, nil, nil)
            return .isOutdated
        case .open: break
        }
        if now - known.askedAt > patience * (0.25 + 0.5 * chance) {
            proposer?.value.askAgain()
            proposer?.askedAt = now
        }
        return .follows
    }
}
