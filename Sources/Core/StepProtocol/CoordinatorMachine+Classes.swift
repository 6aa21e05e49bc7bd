internal import Cluster

/// Orders about classes: what shards must read is checked by all of them before it is decided.
extension CoordinatorMachine {
    struct ClassOrders: Sendable {
        /// An order that is checked at the next boundary.
        var waiting: ClassOperation?
        /// The last one that had to be checked.
        var last: CoordinatorStatus.ClassOrder?
    }

    mutating func order(_ operation: ClassOperation) -> [Action] {
        if isOver { return [.refuseOperator("the run is over")] }
        guard operation.needsCheck else {
            return decide(
                .operations(record.operations + [.init(operation: operation)], classVersion: record.classVersion))
        }
        if let other = orderBeingChecked {
            return [.refuseOperator("another order is being checked (\(other.summary)): give this one again after it")]
        }
        orders.waiting = operation
        orders.last = .init(number: (orders.last?.number ?? 0) + 1, operation: operation, state: .checking)
        return [.event(.info, "every shard is asked whether it can \(operation.summary)")]
    }

    var orderBeingChecked: ClassOperation? {
        if case .check(let operation) = record.task?.kind { return operation }
        return orders.waiting
    }

    /// Every owner has said whether it can do what was ordered, and what it has read.
    mutating func settle(
        _ operation: ClassOperation, _ details: [MemberID: String], _ failures: [MemberID: String]
    ) -> [Action] {
        let hashes = Dictionary(grouping: details.filter { failures[$0.key] == nil }.keys.sorted()) {
            details[$0] ?? ""
        }
        var problem: String?
        if !failures.isEmpty {
            problem = failures.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(separator: "; ")
        } else if hashes.count > 1 {
            let read = hashes.sorted { $0.key < $1.key }.map { hash, members in
                "\(members.map { "\($0)" }.joined(separator: ", ")) \(hash)"
            }
            problem = "shards have read different rows under that path: \(read.joined(separator: "; "))"
        }
        if let problem { return refuseOrder(operation, problem) }
        let change = CoordinatorRecord.ClassChange(operation: operation.checked(hashes.keys.first ?? ""))
        conclude(operation, .decided)
        return decide(.operations(record.operations + [change], classVersion: record.classVersion))
            + [.event(.info, "every shard can \(operation.summary): decided")]
    }

    mutating func refuseOrder(_ operation: ClassOperation, _ problem: String) -> [Action] {
        conclude(operation, .refused(problem))
        return [.event(.error, "the order to \(operation.summary) is refused: \(problem)")]
    }

    private mutating func conclude(_ operation: ClassOperation, _ state: CoordinatorStatus.ClassOrder.State) {
        // After a restart only the task knows of the order.
        let number = orders.last?.number ?? 1
        orders.last = .init(number: number, operation: operation, state: state)
    }
}
