internal import Cluster
internal import GRDB
internal import StepProtocol

extension CoordinatorDatabase {
    /// One decision in SQL: the same as `CoordinatorRecord.apply`.
    static func write(_ decision: CoordinatorRecord.Decision, _ db: Database) throws {
        switch decision {
        case .term(let term, let committed):
            try update(db, "term = ?, committed = ?", [term, committed])
            try db.execute(sql: "DELETE FROM attempt WHERE step > ?", arguments: [committed])
        case .committed(let id):
            try update(db, "committed = ?", [id.step])
            try db.execute(
                sql: "DELETE FROM attempt WHERE step >= ? OR step <= ?",
                arguments: [id.step, id.step - CoordinatorRecord.attemptLimit])
            try insert(id, db)
        case .attempts(let ids):
            try db.execute(sql: "DELETE FROM attempt")
            for id in ids { try insert(id, db) }
        case .map(let version, let owners):
            try update(db, "map_version = ?", [version])
            try replace("slice", with: owners, db)
        case .keepers(let keepers): try replace("keeper", with: keepers, db)
        case .member(let member, let record):
            try db.execute(
                sql: """
                    INSERT OR REPLACE INTO member (role, number, incarnation, endpoint, is_draining, place, directory, zone)
                    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                arguments: [
                    member.role.name, member.number, Int64(bitPattern: record.incarnation), record.endpoint,
                    record.isDraining, record.place, Int64(bitPattern: record.directory), record.zone,
                ])
            let column = member.role == .shard ? "next_shard" : "next_worker"
            try update(db, "\(column) = max(\(column), ?)", [member.number + 1])
        case .gone(let member):
            try db.execute(
                sql: "DELETE FROM member WHERE role = ? AND number = ?", arguments: [member.role.name, member.number])
        case .moves(let moves):
            try db.execute(sql: "DELETE FROM move")
            for (position, move) in moves.enumerated() {
                try db.execute(
                    sql: "INSERT INTO move (position, kind, number, from_shard, to_shard) VALUES (?, ?, ?, ?, ?)",
                    arguments: [position, move.slice.kind, move.slice.number, move.from.number, move.to.number])
            }
        case .task(let task):
            try db.execute(sql: "DELETE FROM task")
            guard let task else { return }
            try db.execute(
                sql: "INSERT INTO task (only, number, step, kind) VALUES (1, ?, ?, ?)",
                arguments: [task.number, task.step, try json(task.kind)])
            try update(db, "next_task = max(next_task, ?)", [task.number + 1])
        case .operations(let operations, let version):
            try update(db, "class_version = ?", [version])
            try db.execute(sql: "DELETE FROM operation")
            for (index, change) in operations.enumerated() {
                try db.execute(
                    sql: "INSERT INTO operation (version, operation, after_step) VALUES (?, ?, ?)",
                    arguments: [index + 1, try json(change.operation), change.afterStep])
            }
        case .checkpoints(let checkpoints):
            try db.execute(sql: "DELETE FROM checkpoint")
            for (position, checkpoint) in checkpoints.enumerated() {
                try db.execute(
                    sql:
                        "INSERT INTO checkpoint (position, step, directory, class_version, past) VALUES (?, ?, ?, ?, ?)",
                    arguments: [
                        position, checkpoint.step, checkpoint.directory, checkpoint.classVersion,
                        checkpoint.past.map { Int64(bitPattern: $0) },
                    ])
            }
        case .rates(let changes):
            try db.execute(sql: "DELETE FROM learning_rate")
            for (position, change) in changes.enumerated() {
                try db.execute(
                    sql: "INSERT INTO learning_rate (position, from_step, rule) VALUES (?, ?, ?)",
                    arguments: [position, change.fromStep, change.rule.description])
            }
        case .head(let changes):
            try db.execute(sql: "DELETE FROM head_change")
            for (position, change) in changes.enumerated() {
                try db.execute(
                    sql: "INSERT INTO head_change (position, from_step, head_order) VALUES (?, ?, ?)",
                    arguments: [position, change.fromStep, change.order.description])
            }
        case .paused(let value): try update(db, "is_paused = ?", [value])
        case .stopping(let value): try update(db, "is_stopping = ?", [value])
        case .failed(let reason): try update(db, "failure = ?", [reason])
        case .results(let step): try update(db, "results_step = ?", [step])
        case .pasts(let pasts):
            try db.execute(sql: "DELETE FROM past")
            for (position, past) in pasts.enumerated() {
                try db.execute(
                    sql: "INSERT INTO past (position, name, since) VALUES (?, ?, ?)",
                    arguments: [position, Int64(bitPattern: past.name), past.since])
            }
        case .safe(let step): try update(db, "safe = ?", [step])
        case .jobs(let jobs): try update(db, "jobs = ?", [try json(jobs)])
        case .view(let view): try update(db, "view = ?", [try json(view)])
        case .paces(let paces):
            try db.execute(sql: "DELETE FROM pace")
            for (worker, seconds) in paces {
                try db.execute(sql: "INSERT INTO pace (worker, seconds) VALUES (?, ?)", arguments: [worker, seconds])
            }
        }
    }

    /// Makes these the only rows of a table of slices and their shards.
    private static func replace(_ table: String, with shards: [SliceName: Int], _ db: Database) throws {
        try db.execute(sql: "DELETE FROM \(table)")
        let insert = try db.makeStatement(sql: "INSERT INTO \(table) (kind, number, shard) VALUES (?, ?, ?)")
        for (slice, shard) in shards { try insert.execute(arguments: [slice.kind, slice.number, shard]) }
    }

    private static func insert(_ attempt: StepID, _ db: Database) throws {
        try db.execute(
            sql: "INSERT INTO attempt (step, term, attempt) VALUES (?, ?, ?)",
            arguments: [attempt.step, attempt.term, attempt.attempt])
    }

    /// Changes columns of the cluster's only row.
    static func update(_ db: Database, _ assignments: String, _ arguments: StatementArguments) throws {
        try db.execute(sql: "UPDATE cluster SET \(assignments)", arguments: arguments)
        guard db.changesCount == 1 else {
            throw CoordinatorStoreError(.io, "no cluster was made in this database yet")
        }
    }
}
