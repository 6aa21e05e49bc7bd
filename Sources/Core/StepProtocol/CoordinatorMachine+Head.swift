public import Cluster

/// The operator's changes of the head's values, which belong to steps as those of the learning rate do.
extension CoordinatorMachine {
    /// The values of the head that a step has, or would have if nothing is changed until then.
    public func headValues(_ step: Int) -> HeadValues {
        record.headChanges.values(of: step, scheduled: configuration.head(step))
    }

    /// Values change from the next step on that has not begun: attempts of one step must be equal.
    mutating func setHead(_ order: HeadOrder) -> [Action] {
        guard id.step < configuration.totalSteps else { return [.refuseOperator("no step is left to do")] }
        let whole = record.headChanges.waiting?.merging(order) ?? order
        if attempts == .fresh { return change(to: whole) }
        let others = record.headChanges.filter { $0.fromStep != nil }
        return decide(.head(others + [HeadChange(fromStep: nil, order: whole)]))
            + [.event(.info, "\(order) is ordered for the next step that begins")]
    }

    /// The order holds from the step on that is about to begin, and adds to one of the same step. Changes of later steps are of a past that
    /// the cluster went back behind: they do not change again what this one names.
    mutating func change(to order: HeadOrder) -> [Action] {
        let step = id.step
        let earlier = record.headChanges.filter { change in change.fromStep.map { $0 < step } ?? false }
        let same = record.headChanges.last { $0.fromStep == step }?.order
        let whole = same?.merging(order) ?? order
        let later = record.headChanges.compactMap { change -> HeadChange? in
            guard let from = change.fromStep, from > step else { return nil }
            return change.order.without(order).map { HeadChange(fromStep: from, order: $0) }
        }
        let actions = decide(.head(earlier + [HeadChange(fromStep: step, order: whole)] + later))
        let (values, scheduled) = (headValues(step), configuration.head(step))
        let texts = order.rules.sorted { $0.key < $1.key }.map { name, rule in
            let (now, usual) = (name.text(values[name]), name.text(scheduled[name]))
            return rule == .schedule
                ? "\(name.rawValue) \(now), as the configuration has it"
                : "\(name.rawValue) \(now) (the configuration has \(usual))"
        }
        return actions + [.event(.info, "\(texts.joined(separator: ", ")) from step \(step) on")]
    }
}
