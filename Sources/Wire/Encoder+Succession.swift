internal import CWire
internal import Succession

extension Encoder {
    func standingBy(_ standing: StandingBy) throws -> UnsafeMutablePointer<Partialfc__StandingBy> {
        try arena.make(partialfc__standing_by__init) {
            $0.message = try arena.prose(standing.message, "message")
            if let question = standing.question { $0.question = try ballotQuestion(question) }
        }
    }

    func ballotQuestion(_ question: BallotQuestion) throws -> UnsafeMutablePointer<Partialfc__BallotQuestion> {
        try arena.make(partialfc__ballot_question__init) {
            $0.view = try Field.number(question.view, "view")
            $0.ballot = try ballot(question.ballot)
            $0.holder = question.holder ?? 0
        }
    }

    func ballotVote(_ vote: BallotVote) throws -> UnsafeMutablePointer<Partialfc__BallotVote> {
        try arena.make(partialfc__ballot_vote__init) {
            $0.view = try Field.number(vote.view, "view")
            if let promised = vote.promised { $0.promised = try ballot(promised) }
            if let accepted = vote.accepted {
                $0.accepted = try ballot(accepted.ballot)
                $0.holder = accepted.holder
            }
        }
    }

    private func ballot(_ ballot: Ballot) throws -> UnsafeMutablePointer<Partialfc__Ballot> {
        try arena.make(partialfc__ballot__init) {
            $0.round = try Field.number(ballot.round, "round")
            $0.candidate = ballot.candidate
        }
    }
}
