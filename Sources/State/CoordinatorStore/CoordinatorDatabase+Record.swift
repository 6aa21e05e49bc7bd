internal import Cluster
internal import GRDB
internal import StepProtocol
internal import Succession

extension CoordinatorDatabase {
    /// The tables as the record that the state machine starts from.
    static func readAll(_ db: Database) throws -> (cluster: Cluster, record: CoordinatorRecord)? {
        guard let row = try Row.fetchOne(db, sql: "SELECT * FROM cluster") else { return nil }
        var cluster = Cluster(id: row["id"], configuration: row["configuration"])
        let origin: String? = row["origin"]
        cluster.origin = try origin.map { try value(CoordinatorRecord.CheckpointRecord.self, $0) }
        cluster.instructionSet = row["instruction_set"]
        cluster.leastHeadKernels = row["least_head_kernels"]
        cluster.created = row["created"]

        var record = CoordinatorRecord()
        record.term = row["term"]
        record.committed = row["committed"]
        record.mapVersion = row["map_version"]
        record.classVersion = row["class_version"]
        record.nextShard = row["next_shard"]
        record.nextWorker = row["next_worker"]
        record.nextTask = row["next_task"]
        record.isPaused = row["is_paused"]
        record.isStopping = row["is_stopping"]
        record.failure = row["failure"]
        record.resultsStep = row["results_step"]
        record.safe = row["safe"]
        let jobs: String? = row["jobs"]
        record.jobs = try jobs.map { try value(JobHistory.self, $0) } ?? JobHistory()
        let view: String? = row["view"]
        if let view { record.view = try value(CoordinatorView.self, view) }
        for row in try Row.fetchAll(db, sql: "SELECT kind, number, shard FROM slice") {
            record.owners[SliceName(kind: row["kind"], number: row["number"])] = row["shard"]
        }
        for row in try Row.fetchAll(db, sql: "SELECT kind, number, shard FROM keeper") {
            record.keepers[SliceName(kind: row["kind"], number: row["number"])] = row["shard"]
        }
        for row in try Row.fetchAll(db, sql: "SELECT * FROM member") {
            let role: String = row["role"]
            let incarnation: Int64 = row["incarnation"]
            let directory: Int64 = row["directory"]
            record.members[MemberID(role == "shard" ? .shard : .worker, row["number"])] = .init(
                incarnation: UInt64(bitPattern: incarnation), endpoint: row["endpoint"], isDraining: row["is_draining"],
                place: row["place"], directory: UInt64(bitPattern: directory), zone: row["zone"])
        }
        record.moves = try Row.fetchAll(db, sql: "SELECT * FROM move ORDER BY position").map { row in
            SliceMove(
                slice: SliceName(kind: row["kind"], number: row["number"]), from: MemberID(.shard, row["from_shard"]),
                to: MemberID(.shard, row["to_shard"]))
        }
        record.task = try Row.fetchOne(db, sql: "SELECT * FROM task").map { row in
            BoundaryTask(
                number: row["number"], step: row["step"], kind: try value(BoundaryTask.Kind.self, row["kind"]))
        }
        record.operations = try Row.fetchAll(db, sql: "SELECT * FROM operation ORDER BY version").map { row in
            .init(operation: try value(ClassOperation.self, row["operation"]), afterStep: row["after_step"])
        }
        record.checkpoints = try Row.fetchAll(db, sql: "SELECT * FROM checkpoint ORDER BY position").map { row in
            let past: Int64? = row["past"]
            return .init(
                step: row["step"], directory: row["directory"], classVersion: row["class_version"],
                past: past.map { UInt64(bitPattern: $0) })
        }
        record.attempts = try Row.fetchAll(db, sql: "SELECT * FROM attempt ORDER BY step").map { row in
            StepID(term: row["term"], step: row["step"], attempt: row["attempt"])
        }
        for row in try Row.fetchAll(db, sql: "SELECT * FROM pace") { record.paces[row["worker"]] = row["seconds"] }
        record.pasts = try Row.fetchAll(db, sql: "SELECT * FROM past ORDER BY position").map { row in
            let name: Int64 = row["name"]
            return Past(name: UInt64(bitPattern: name), since: row["since"])
        }
        record.rates = try Row.fetchAll(db, sql: "SELECT * FROM learning_rate ORDER BY position").map { row in
            do { return LearningRateChange(fromStep: row["from_step"], rule: try LearningRateRule(row["rule"])) } catch
            {
                throw CoordinatorStoreError(
                    .damaged, "the learning rate of step \(row["from_step"] as Int? ?? -1): \(error)")
            }
        }
        record.headChanges = try Row.fetchAll(db, sql: "SELECT * FROM head_change ORDER BY position").map { row in
            do { return HeadChange(fromStep: row["from_step"], order: try HeadOrder(row["head_order"])) } catch {
                throw CoordinatorStoreError(
                    .damaged, "the values of the head of step \(row["from_step"] as Int? ?? -1): \(error)")
            }
        }
        return (cluster, record)
    }
}
