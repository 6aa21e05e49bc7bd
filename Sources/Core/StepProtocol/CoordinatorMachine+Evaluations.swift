internal import Cluster

/// Evaluations beside the training: rank 0 makes one every so many steps, and those that nobody makes are counted.
extension CoordinatorMachine {
    struct DueEvaluations: Sendable {
        /// The worker that is to evaluate after a step.
        var due: [Int: MemberID] = [:]
        /// The step after the committed one, if it was evaluated before it was committed.
        var early: Int?
        /// How many were due and were not made.
        var missed = 0

        /// More than one worker's evaluations are never due for long: a bound for one that says nothing of them.
        static var limit: Int { 64 }
    }

    /// Notes that the parameters after the step that is being committed are to be evaluated by its rank 0.
    mutating func expectEvaluation(after step: Int) -> [Action] {
        guard configuration.evaluationEvery > 0, (step + 1) % configuration.evaluationEvery == 0,
            step + 1 < configuration.totalSteps, let first = ranks.first?.worker,
            live[first]?.writesResults == true
        else { return [] }
        defer { evaluations.early = nil }
        if evaluations.early == step { return [] }
        evaluations.due[step] = first
        guard evaluations.due.count > DueEvaluations.limit, let oldest = evaluations.due.keys.min() else { return [] }
        return miss(oldest, "\(first) has said nothing of it")
    }

    /// A worker has evaluated, or says why not.
    mutating func noteEvaluation(after step: Int, _ problem: String?, by member: MemberID) -> [Action] {
        if step > committed { evaluations.early = step }
        guard evaluations.due[step] == member else { return [] }
        if let problem { return miss(step, "\(member): \(problem)") }
        evaluations.due[step] = nil
        return []
    }

    /// What a worker that is gone was to evaluate nobody does.
    mutating func missEvaluations(of member: MemberID) -> [Action] {
        evaluations.due.filter { $0.value == member }.keys.sorted().flatMap { miss($0, "\(member) is gone") }
    }

    private mutating func miss(_ step: Int, _ why: String) -> [Action] {
        evaluations.due[step] = nil
        evaluations.missed += 1
        return [.event(.warning, "there is no evaluation after step \(step): \(why)")]
    }
}
