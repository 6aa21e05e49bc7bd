/// A coordinator that asks the shards whether it may decide alone: the proposer of single-decree Paxos.
public struct BallotProposer: Sendable {
    public enum Outcome: Sendable, Hashable {
        /// There is no majority yet.
        case open
        /// This coordinator decides alone in the view, or the other one does.
        case chosen(UInt64)
        /// The shards know of a later view.
        case passed(view: Int)
    }

    /// The view that is to begin, and who wants to be alone in it.
    public let view: Int
    public let candidate: UInt64
    /// Drawn when its process starts: a ballot is not used twice.
    private let process: UInt64
    /// `CoordinatorView.voters`, without empty sets.
    private let voters: [Set<Int>]
    private var round = 1
    private var holder: UInt64?
    private var votes: [Int: BallotVote] = [:]

    /// Asks for the view after `view`.
    public init(after view: CoordinatorView, candidate: UInt64, process: UInt64) {
        (self.view, self.candidate, self.process) = (view.number + 1, candidate, process)
        voters = view.voters.filter { !$0.isEmpty }
    }

    /// What to ask every shard that listens.
    public var question: BallotQuestion {
        BallotQuestion(view: view, ballot: Ballot(round: round, candidate: process), holder: holder)
    }

    /// Takes what a shard has promised. What it said before does not count any more.
    public mutating func hear(_ vote: BallotVote, from shard: Int) {
        votes[shard] = vote
        let ballot = question.ballot
        guard holder == nil, hasMajority(where: { $0.view == view && $0.promised == ballot }) else { return }
        let accepted = votes.values.filter { $0.view == view && $0.promised == ballot }.compactMap(\.accepted)
        holder = accepted.max { $0.ballot < $1.ballot }?.holder ?? candidate
    }

    /// Asks anew, above every ballot that a shard has promised: to be called where nothing comes of this one.
    public mutating func askAgain() {
        let highest = votes.values.filter { $0.view == view }.compactMap(\.promised?.round).max() ?? 0
        (round, holder) = (max(round, highest) + 1, nil)
    }

    public var outcome: Outcome {
        if let later = votes.values.map(\.view).max(), later > view { return .passed(view: later) }
        let ballot = question.ballot
        if let holder, hasMajority(where: { $0.view == view && $0.accepted?.ballot == ballot }) {
            return .chosen(holder)
        }
        return .open
    }

    /// How many shards have promised it something, and how many must.
    public var progress: (agreed: Int, needed: Int) {
        let ballot = question.ballot
        let agreed = votes.filter { $0.value.view == view && $0.value.promised == ballot }.keys
        let scarcest = voters.min { left, right in
            left.intersection(agreed).count - left.count / 2 < right.intersection(agreed).count - right.count / 2
        }
        guard let scarcest else { return (0, 1) }
        return (scarcest.intersection(agreed).count, scarcest.count / 2 + 1)
    }

    private func hasMajority(where isCounted: (BallotVote) -> Bool) -> Bool {
        !voters.isEmpty
            && voters.allSatisfy { set in
                set.filter { votes[$0].map(isCounted) ?? false }.count > set.count / 2
            }
    }
}
