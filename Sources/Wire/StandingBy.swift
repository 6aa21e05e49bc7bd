public import Succession

/// A coordinator does not decide: it stands by for another one, or waits to hear whether that one has taken over. The peer is to go to the next
/// of its coordinators.
public struct StandingBy: Sendable, Equatable {
    /// Why, for people.
    public var message: String
    /// For a shard: what it is asked, if it is.
    public var question: BallotQuestion?

    public init(message: String, question: BallotQuestion? = nil) {
        (self.message, self.question) = (message, question)
    }
}
