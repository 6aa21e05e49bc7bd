internal import GRDB

extension CoordinatorDatabase {
    /// The last figures of an evaluation set.
    public struct Evaluation: Sendable, Hashable {
        public var name: String
        public var step: Int
        public var values: [String: Double]

        public init(name: String, step: Int, values: [String: Double]) {
            self.name = name
            self.step = step
            self.values = values
        }
    }

    /// Keeps the figures in the place of those that the set had before. Not synced.
    public func keep(_ evaluation: Evaluation) throws(CoordinatorStoreError) {
        // JSON has no infinities.
        let values = evaluation.values.mapValues { "\($0)" }
        try transaction(durable: false) { db in
            try db.execute(
                sql: "INSERT OR REPLACE INTO evaluation (name, step, figures) VALUES (?, ?, ?)",
                arguments: [evaluation.name, evaluation.step, try Self.json(values)])
        }
    }

    /// The last figures of every evaluation set, by name.
    public func evaluations() throws(CoordinatorStoreError) -> [Evaluation] {
        do {
            return try queue.read { db in
                try Row.fetchAll(db, sql: "SELECT name, step, figures FROM evaluation ORDER BY name").map { row in
                    let figures = try Self.value([String: String].self, row["figures"])
                    return Evaluation(
                        name: row["name"], step: row["step"], values: figures.compactMapValues(Double.init))
                }
            }
        } catch { throw Self.storeError(error, path) }
    }
}
