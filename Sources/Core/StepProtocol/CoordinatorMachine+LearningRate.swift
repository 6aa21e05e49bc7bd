internal import Cluster

/// The operator's changes of the learning rate, which belong to steps: whoever does a step again does it with the same rate.
extension CoordinatorMachine {
    /// What is known of attempts of the step `id.step`.
    enum Attempts: Sendable {
        /// None was announced since the step before it was committed, or everyone went back to that.
        case fresh
        /// One was announced.
        case begun
        /// An earlier coordinator may have announced one.
        case unknown
    }

    /// The rate that a step has, or would have if nothing is changed until then.
    public func learningRate(_ step: Int) -> Float {
        record.rates.rule(of: step).rate(scheduled: configuration.learningRate(step))
    }

    private var waitingRule: LearningRateRule? { record.rates.last { $0.fromStep == nil }?.rule }

    /// The rate changes from the next step on that has not begun.
    ///
    /// Attempts of one step must be equal: a shard that loses power may come back with the log record of an earlier one.
    mutating func setLearningRate(_ rule: LearningRateRule) -> [Action] {
        guard id.step < configuration.totalSteps else { return [.refuseOperator("no step is left to do")] }
        if attempts == .fresh { return change(to: rule) }
        let others = record.rates.filter { $0.fromStep != nil }
        return decide(.rates(others + [LearningRateChange(fromStep: nil, rule: rule)]))
            + [.event(.info, "learning rate \(rule) is ordered for the next step that begins")]
    }

    /// Lets changes that wait, of the rate and of the head, begin with the step that is about to; or lets everyone forget attempts of it first.
    ///
    /// - Returns: nil if there is nothing to do.
    mutating func takeUpOrders() -> [Action]? {
        let (rule, order) = (waitingRule, record.headChanges.waiting)
        if rule == nil, order == nil { return nil }
        switch attempts {
        case .fresh: return (rule.map { change(to: $0) } ?? []) + (order.map { change(to: $0) } ?? [])
        case .begun: return nil
        case .unknown: return goBack(to: committed)
        }
    }

    /// The rule holds from the step on that is about to begin. Changes of later steps are of a past that the cluster went back
    /// behind: this one takes their place.
    private mutating func change(to rule: LearningRateRule) -> [Action] {
        let step = id.step
        let earlier = record.rates.filter { change in change.fromStep.map { $0 < step } ?? false }
        let actions = decide(.rates(earlier + [LearningRateChange(fromStep: step, rule: rule)]))
        let (rate, scheduled) = (learningRate(step), configuration.learningRate(step))
        var text = "learning rate \(rate) from step \(step) on"
        switch rule {
        case .schedule: text += ", as the schedule has it"
        case .scaled(let factor): text += ", \(factor) times the \(scheduled) of the schedule"
        case .fixed: text += "; the schedule has \(scheduled)"
        }
        // Ten times the schedule is more often a slip than meant. In a warm-up from 0 nothing can be said.
        let isSuspicious = scheduled > 0 && rate > 10 * scheduled
        if isSuspicious { text += ": more than ten times as large" }
        return actions + [.event(isSuspicious ? .warning : .info, text)]
    }
}
