internal import Cluster

/// Calling off what is under way and cannot end.
extension CoordinatorMachine {
    mutating func cancel() -> [Action] {
        if let operation = orders.waiting {
            orders.waiting = nil
            return refuseOrder(operation, "it was called off")
        }
        if case .finishing = activity { return giveUpResults() }
        guard let task = record.task else {
            return [.refuseOperator("nothing is under way that could be called off")]
        }
        let event = Action.event(.warning, "\(task.kind.name) after step \(task.step) is called off")
        switch task.kind {
        case .check(let operation): return refuseOrder(operation, "it was called off") + abandonTask()
        case .checkpoint: return [event] + abandonTask()
        case .handOver(let moves):
            // Copies that are complete stay with their receivers, and are dropped with the next plan.
            return decide(.moves(record.moves.filter { !moves.contains($0) })) + [event] + abandonTask()
        case .classes(let operation): return cancel(operation)
        case .promote: return [.refuseOperator("lost slices are made from their copies, which changes nothing else")]
        case .skip:
            return [
                .refuseOperator(
                    "step \(task.step) is being skipped, and would have the same values that are not finite again: this cannot be called off. What keeps shards from it: \(failureText)"
                )
            ]
        case .restore:
            return [
                .refuseOperator(
                    "the cluster is going back, and some shards may have done it: this cannot be called off. Go back to another checkpoint with `coordinator restore CHECKPOINT`. What keeps shards from it: \(failureText)"
                )
            ]
        }
    }

    private var failureText: String {
        let failures = taskFailures.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        return failures.isEmpty ? "nothing is known" : failures.joined(separator: "; ")
    }

    private mutating func abandonTask() -> [Action] {
        taskProblem = nil
        retryAt = nil
        return endTask() + broadcast()
    }

    /// Takes a class operation back that some shards may have made: everyone goes back to the classes before it, by its log. Shards
    /// without a log that may have made it go back to the newest checkpoint.
    private mutating func cancel(_ operation: ClassOperation) -> [Action] {
        // Later orders name classes as they would be after this one: without it they would mean others.
        let later = record.operations.dropFirst(classVersion + 1).map(\.operation.summary)
        var actions = decide(.operations(Array(record.operations.prefix(classVersion)), classVersion: classVersion))
        actions += [.event(.warning, "the order to \(operation.summary) is called off: the classes stay as they are")]
        if !later.isEmpty {
            let text = "so are the orders that came after it: \(later.joined(separator: "; "))"
            actions += [.event(.warning, text)]
        }
        actions += abandonTask()
        let canGoBack = owners.allSatisfy { live[$0]?.logsSteps ?? true }
        return actions + (canGoBack ? goBack(to: committed) : goBack(to: newestCheckpoint ?? beginning))
    }
}
