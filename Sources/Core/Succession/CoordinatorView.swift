/// Which coordinators decide, as the views of viewstamped replication number it (Liskov and Cowling, *Viewstamped Replication Revisited*, 2012).
///
/// With a standby every decision is on two disks before anybody hears of it. A view without one begins when a majority of the shards has
/// agreed to it (`BallotVote`): so the first can go on alone, or the standby can take over, and never both.
public struct CoordinatorView: Sendable, Hashable, Codable {
    public var number: Int
    /// The coordinator that has every decision before it takes effect; nil: this one decides alone.
    public var standby: Standby?
    /// Where the coordinator is to which this one has handed over; nil: it has not.
    public var successor: String?

    /// Numbers of the shards whose directories vote on the next view. There are two sets while they change, of each of which a majority is
    /// needed: the two coordinators may know of different ones (joint consensus: Ongaro and Ousterhout, *Raft*, 2014).
    public var voters: [Set<Int>]

    /// A coordinator that stands by.
    public struct Standby: Sendable, Hashable, Codable {
        /// Drawn once for its directory.
        public var id: UInt64
        public var endpoint: String

        public init(id: UInt64, endpoint: String) { (self.id, self.endpoint) = (id, endpoint) }
    }

    public init(number: Int = 0, standby: Standby? = nil, successor: String? = nil, voters: [Set<Int>] = []) {
        (self.number, self.standby, self.successor, self.voters) = (number, standby, successor, voters)
    }

    /// Whether nobody can vote: no shard has joined yet.
    public var hasNoVoters: Bool { voters.allSatisfy(\.isEmpty) }
}
