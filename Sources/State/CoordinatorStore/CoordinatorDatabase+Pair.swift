internal import GRDB
public import StepProtocol
public import Succession

/// What a coordinator knows of itself as one of two.
extension CoordinatorDatabase {
    public struct Pair: Sendable, Hashable {
        /// Drawn once for the directory.
        public var identity: UInt64
        /// The coordinator that this one stands by for; nil: this one decides.
        public var follows: String?
        /// The view in which that one was given the lead, until it has it.
        public var granted: CoordinatorView?
    }

    /// What is known; at first that is a new identity.
    public func pair() throws(CoordinatorStoreError) -> Pair {
        var pair: Pair?
        try transaction(durable: true) { db in
            if let row = try Row.fetchOne(db, sql: "SELECT * FROM pair") {
                let identity: Int64 = row["identity"]
                let granted: String? = row["granted"]
                pair = Pair(
                    identity: UInt64(bitPattern: identity), follows: row["follows"],
                    granted: try granted.map { try Self.value(CoordinatorView.self, $0) })
            } else {
                let drawn = UInt64.random(in: 1 ... .max)
                try db.execute(
                    sql: "INSERT INTO pair (only, identity) VALUES (1, ?)", arguments: [Int64(bitPattern: drawn)])
                pair = Pair(identity: drawn)
            }
        }
        guard let pair else { throw CoordinatorStoreError(.io, "\(path) cannot be read") }
        return pair
    }

    /// This coordinator stands by for another one from now on.
    ///
    /// - Parameter granted: the view in which that one is to decide, if it may not know.
    public func follow(_ endpoint: String, granted: CoordinatorView? = nil) throws(CoordinatorStoreError) {
        try transaction(durable: true) { db in
            try db.execute(
                sql: "UPDATE pair SET follows = ?, granted = ?", arguments: [endpoint, try granted.map(Self.json)])
        }
    }

    /// This coordinator decides from now on, in this view.
    public func lead(in view: CoordinatorView) throws(CoordinatorStoreError) {
        try transaction(durable: true) { db in
            try Self.write(.view(view), db)
            try db.execute(sql: "UPDATE pair SET follows = NULL, granted = NULL")
        }
    }

    /// Has what another coordinator has decided, in the place of everything that is here.
    public func become(
        _ cluster: Cluster, deciding decisions: [CoordinatorRecord.Decision]
    ) throws(CoordinatorStoreError) {
        try transaction(durable: true) { db in
            for table in Self.tablesOfDecisions { try db.execute(sql: "DELETE FROM \(table)") }
            try Self.insert(cluster, db)
            for decision in decisions { try Self.write(decision, db) }
            try db.execute(sql: "UPDATE pair SET granted = NULL")
        }
    }

    private static let tablesOfDecisions = [
        "cluster", "slice", "keeper", "member", "move", "task", "operation", "checkpoint", "learning_rate",
        "head_change", "past", "attempt", "pace",
    ]

    /// Has what is fixed when a cluster is made, as another coordinator has changed it.
    public func change(_ cluster: Cluster) throws(CoordinatorStoreError) {
        try transaction(durable: true) {
            try Self.update(
                $0, "configuration = ?, instruction_set = ?, least_head_kernels = ?",
                [cluster.configuration, cluster.instructionSet, cluster.leastHeadKernels])
        }
    }
}
