import Cluster
import Logging
import ProcessSupport
import Succession
import Wire

/// Which of two coordinators decides (docs/step-protocol.md): this shard's promises.
extension ShardService {
    /// A coordinator that does not decide has answered.
    func hear(_ standing: StandingBy, of endpoint: String) {
        let text = "\(endpoint) does not coordinate: \(standing.message)"
        if text != lastStanding { log.info("\(text)") }
        lastStanding = text
        if let question = standing.question { vote(question) }
    }

    /// What is promised is on the disk before it is said.
    func vote(_ question: BallotQuestion) {
        let (record, mailbox) = (record, mailbox)
        compute.submit { mailbox.post(.voted(isChanged: record.hear(question))) }
    }

    func tellVote(_ isChanged: Bool) {
        guard isChanged else { return }
        hello.vote = record.vote
        coordinator.update(hello)
        if coordinator.isWelcomed { beat() } else { coordinator.greet() }
    }
}
