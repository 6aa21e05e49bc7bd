/// An attempt to have a view begin. Those of different processes differ.
public struct Ballot: Sendable, Hashable, Codable, Comparable {
    public var round: Int
    /// The process that asks.
    public var candidate: UInt64

    public init(round: Int, candidate: UInt64) { (self.round, self.candidate) = (round, candidate) }

    public static func < (left: Ballot, right: Ballot) -> Bool {
        (left.round, left.candidate) < (right.round, right.candidate)
    }
}

/// What a coordinator asks of a shard that listens to it.
public struct BallotQuestion: Sendable, Hashable, Codable {
    /// The view that is to begin.
    public var view: Int
    public var ballot: Ballot
    /// The coordinator that is to decide alone in it; nil: only a promise is asked for.
    public var holder: UInt64?

    public init(view: Int, ballot: Ballot, holder: UInt64? = nil) {
        (self.view, self.ballot, self.holder) = (view, ballot, holder)
    }
}

/// What a shard has promised: the acceptor of single-decree Paxos (Lamport, *Paxos Made Simple*, 2001), one decree for each view.
///
/// Written before it is said.
public struct BallotVote: Sendable, Hashable, Codable {
    public struct Accepted: Sendable, Hashable, Codable {
        public var ballot: Ballot
        public var holder: UInt64

        public init(ballot: Ballot, holder: UInt64) { (self.ballot, self.holder) = (ballot, holder) }
    }

    public private(set) var view = 0
    public private(set) var promised: Ballot?
    public private(set) var accepted: Accepted?

    public init() {}

    public init(view: Int, promised: Ballot?, accepted: Accepted?) {
        (self.view, self.promised, self.accepted) = (view, promised, accepted)
    }

    /// Promises, or accepts, what it has not promised otherwise.
    ///
    /// - Returns: whether that changes anything.
    @discardableResult
    public mutating func hear(_ question: BallotQuestion) -> Bool {
        guard question.view >= view else { return false }
        let before = self
        if question.view > view {
            self = BallotVote()
            view = question.view
        }
        if let promised, question.ballot < promised { return self != before }
        promised = question.ballot
        if let holder = question.holder { accepted = Accepted(ballot: question.ballot, holder: holder) }
        return self != before
    }
}
