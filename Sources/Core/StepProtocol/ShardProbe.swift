public import Cluster

/// Asks the shards for a sign of life while a worker takes no part in a step, so that the coordinator lets nobody in who does not
/// reach them.
public struct ShardProbe: Sendable {
    private struct Question: Sendable {
        var asked: Duration
        var isAnswered = false
    }

    /// How long a shard may take to answer.
    private static let patience = Duration.seconds(2)
    /// How long an answer counts.
    private static let validity = Duration.seconds(5)

    private var questions: [MemberID: Question] = [:]

    /// One that has asked nobody.
    public init() {}

    /// A shard has shown that it is reached.
    public mutating func answered(_ shard: MemberID) { questions[shard]?.isAnswered = true }

    /// Forgets what was asked, because the worker takes part in a step. Afterwards every shard is asked again, even one that still
    /// owes an answer: what was on its way may be lost.
    public mutating func stop() { questions = [:] }

    /// Looks at the shards of a worker that takes no part in a step. Whoever has not answered is not asked again: the connection repeats
    /// the question.
    ///
    /// - Returns: the shards to ask now, and those that have not answered for seconds, both in the order of `shards`.
    public mutating func look(at shards: [MemberID], _ now: Duration) -> (ask: [MemberID], silent: [MemberID]) {
        questions = questions.filter { shards.contains($0.key) }
        let silent = shards.filter { shard in
            questions[shard].map { !$0.isAnswered && $0.asked + Self.patience < now } ?? false
        }
        let ask = shards.filter { shard in
            questions[shard].map { $0.isAnswered && $0.asked + Self.validity <= now } ?? true
        }
        for shard in ask { questions[shard] = Question(asked: now) }
        return (ask, silent)
    }
}
