internal import Foundation
internal import GRDB
internal import ProcessSupport
public import StepProtocol

/// The coordinator's decisions on disk: an SQLite database in a directory that one coordinator uses at a time.
///
/// The database is in WAL mode, so that it can be looked at (`sqlite3 coordinator.sqlite`) while a run goes on. A decision
/// that others act upon is synced before `write` returns; a committed step is not, because the shards know it too.
/// Use from one thread.
public final class CoordinatorDatabase {
    /// The database's name in its directory.
    public static let fileName = "coordinator.sqlite"
    /// Events that are kept.
    public static let eventLimit = 10_000

    /// What is fixed when a cluster is made.
    public struct Cluster: Sendable, Hashable {
        public var id: String
        /// The run's configuration as text.
        public var configuration: String
        /// The checkpoint that the run begins with; nil for initial values.
        public var origin: CoordinatorRecord.CheckpointRecord?
        /// The instruction set that the first member computed with.
        public var instructionSet: String?
        /// The least kernels of the head that members must have, if the first member has decided what it computes in.
        public var leastHeadKernels: String?
        /// When the cluster was made, ISO 8601 in UTC. Set by `create`.
        public internal(set) var created = ""

        public init(id: String, configuration: String, origin: CoordinatorRecord.CheckpointRecord? = nil) {
            self.id = id
            self.configuration = configuration
            self.origin = origin
        }
    }

    public let path: String
    let queue: DatabaseQueue
    private let lock: StateLock

    /// Opens the database in `directory`, or makes both.
    ///
    /// - Throws: `CoordinatorStoreError`: `.locked` while another process uses it, `.damaged` if the file is not a sound
    ///   database, `.version` if a newer program wrote it, `.diskFull` or `.io`.
    public init(directory: String) throws(CoordinatorStoreError) {
        path = directory + "/" + Self.fileName
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        } catch {
            throw CoordinatorStoreError(.io, "\(directory) cannot be made: \(SystemProblem.reason(error))")
        }
        lock = try StateLock(path: directory + "/lock")
        var configuration = Configuration()
        configuration.journalMode = .wal
        // Someone may look into the file with another program.
        configuration.busyMode = .timeout(5)
        do {
            queue = try DatabaseQueue(path: path, configuration: configuration)
            if try queue.read(Self.migrator.hasBeenSuperseded) {
                throw CoordinatorStoreError(
                    .version, "\(path) was written by a newer version of this program; use that one")
            }
            let problem = try queue.read { try String.fetchOne($0, sql: "PRAGMA quick_check(1)") }
            guard problem == "ok" else {
                throw CoordinatorStoreError(.damaged, Self.damaged(path, problem ?? "unreadable"))
            }
            try Self.migrator.migrate(queue)
        } catch { throw Self.storeError(error, path) }
    }

    /// Closes the database and gives the directory free.
    public func close() {
        try? queue.close()
        lock.release()
    }

    /// Makes the cluster that this database is about, and what it begins with, durably. Once.
    public func create(
        _ cluster: Cluster, deciding decisions: [CoordinatorRecord.Decision] = []
    ) throws(CoordinatorStoreError) {
        try transaction(durable: true) { db in
            try Self.insert(cluster, db)
            for decision in decisions { try Self.write(decision, db) }
        }
    }

    static func insert(_ cluster: Cluster, _ db: Database) throws {
        try db.execute(
            sql: """
                INSERT INTO cluster (only, id, configuration, origin, instruction_set, least_head_kernels, created)
                VALUES (1, ?, ?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
                """,
            arguments: [
                cluster.id, cluster.configuration, try cluster.origin.map(json), cluster.instructionSet,
                cluster.leastHeadKernels,
            ])
    }

    /// The cluster and everything that was decided; nil if there is none yet.
    public func load() throws(CoordinatorStoreError) -> (cluster: Cluster, record: CoordinatorRecord)? {
        do { return try queue.read(Self.readAll) } catch { throw Self.storeError(error, path) }
    }

    /// Writes decisions in one transaction: all of them or none.
    ///
    /// - Throws: `CoordinatorStoreError`. Nothing was written then, and the call may be repeated.
    public func write(_ decisions: [CoordinatorRecord.Decision]) throws(CoordinatorStoreError) {
        try transaction(durable: decisions.contains(where: \.mustBeDurable)) { db in
            for decision in decisions { try Self.write(decision, db) }
        }
    }

    /// Keeps the instruction set that the cluster computes with.
    public func setInstructionSet(_ name: String) throws(CoordinatorStoreError) {
        try transaction(durable: true) { try Self.update($0, "instruction_set = ?", [name]) }
    }

    /// Keeps the configuration with what the head computes in decided, and the least kernels that members need for it.
    public func setCompute(configuration: String, leastKernels: String?) throws(CoordinatorStoreError) {
        try transaction(durable: true) {
            try Self.update($0, "configuration = ?, least_head_kernels = ?", [configuration, leastKernels])
        }
    }

    /// Runs `body` in a transaction that is synced to the disk when it ends, if `durable`.
    func transaction(durable: Bool, _ body: (Database) throws -> Void) throws(CoordinatorStoreError) {
        do {
            try queue.writeWithoutTransaction { db in
                // In WAL mode NORMAL leaves the sync to the next checkpoint: a process may die, a power cut takes the tail.
                try db.execute(sql: "PRAGMA synchronous = \(durable ? "FULL" : "NORMAL")")
                try db.inTransaction(.immediate) {
                    try body(db)
                    return .commit
                }
            }
        } catch { throw Self.storeError(error, path) }
    }

    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func value<Value: Decodable>(_ type: Value.Type, _ json: String) throws -> Value {
        try JSONDecoder().decode(type, from: Data(json.utf8))
    }

    private static func damaged(_ path: String, _ problem: String) -> String {
        "\(path) is damaged (\(problem)); put a copy back, or begin a new cluster in another --state directory with --resume CHECKPOINT"
    }

    static func storeError(_ error: any Error, _ path: String) -> CoordinatorStoreError {
        switch error {
        case let error as CoordinatorStoreError: error
        case let error as DatabaseError:
            switch error.resultCode {
            case .SQLITE_FULL: CoordinatorStoreError(.diskFull, "\(path) cannot be written: the disk is full")
            case .SQLITE_CORRUPT, .SQLITE_NOTADB:
                CoordinatorStoreError(.damaged, damaged(path, error.message ?? "not a database"))
            default: CoordinatorStoreError(.io, "\(path): \(error.message ?? "\(error.extendedResultCode)")")
            }
        case let error as DecodingError: CoordinatorStoreError(.damaged, damaged(path, "\(error)"))
        default: CoordinatorStoreError(.io, "\(path): \(error)")
        }
    }
}
