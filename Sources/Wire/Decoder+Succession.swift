internal import CWire
internal import Succession

extension Decoder {
    static func standingBy(_ c: Partialfc__StandingBy) throws -> StandingBy {
        StandingBy(
            message: try text(c.message, "message", limit: Bound.textBytes),
            question: try c.question.map { try ballotQuestion($0.pointee) })
    }

    static func ballotQuestion(_ c: Partialfc__BallotQuestion) throws -> BallotQuestion {
        BallotQuestion(
            view: try Field.number(c.view, "view", limit: Bound.counter),
            ballot: try ballot(Field.required(c.ballot, "ballot")),
            holder: c.holder == 0 ? nil : c.holder)
    }

    static func ballotVote(_ c: Partialfc__BallotVote) throws -> BallotVote {
        BallotVote(
            view: try Field.number(c.view, "view", limit: Bound.counter),
            promised: try c.promised.map { try ballot($0.pointee) },
            accepted: try c.accepted.map { .init(ballot: try ballot($0.pointee), holder: c.holder) })
    }

    private static func ballot(_ c: Partialfc__Ballot) throws -> Ballot {
        Ballot(round: try Field.number(c.round, "round", limit: Bound.counter), candidate: c.candidate)
    }
}
