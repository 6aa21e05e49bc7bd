public import ArgumentParser
import Foundation
import MemberSupport
import NetworkAddress
import ParameterStore
import ProcessSupport
import ShardModel

/// A shard server: holds slices of the class centers and of the backbone's parameters, and serves steps.
public struct ShardServerCommand: ParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "shard-server",
        abstract:
            "Hold a part of the class centers and backbone parameters, and serve the steps of a training cluster.",
        discussion: """
            Joins the coordinator, which says what to train and which slices to own. Everything that it holds is in its \
            directory too: ended in any way and started again with it, it goes on where it was. On SIGTERM it hands its \
            slices over to other shards, if there are any, and ends with exit code 0; a second SIGTERM ends it at once. \
            Refused by the coordinator: 77. Its directory or its part of the run cannot be used: 70.
            """,
        version: programVersion)

    @OptionGroup var member: MemberOptions
    @OptionGroup var storage: StorageOptions

    @Option(
        help: """
            Where to listen for workers: tcp://ADDRESS:PORT, with an address of this machine, of IPv4 or of IPv6 in brackets, or * \
            for all of them; port * lets the system choose (environment: PARTIALFC_BIND).
            """)
    var bind = EnvironmentDefaults.text("PARTIALFC_BIND") ?? "tcp://127.0.0.1:*"

    @Option(
        help: """
            Host name or address that workers and other shards reach this one at, with :PORT if it is not the port of --bind; by \
            default what it binds to, or this machine's host name if that is every address (environment: PARTIALFC_ADVERTISE).
            """)
    var advertise: String?

    @Option(
        help: ArgumentHelp(
            """
            What fails together with this shard, as a rack or the machine of several containers: second copies of its slices are kept in \
            another zone if there is one. At most 255 bytes; by default the host that others reach it at (environment: PARTIALFC_ZONE).
            """, valueName: "name"))
    var zone: String?

    public init() {}

    private var zoneName: String {
        (zone ?? EnvironmentDefaults.text("PARTIALFC_ZONE") ?? "").trimmingCharacters(in: .whitespaces)
    }

    public func validate() throws {
        guard zoneName.utf8.count <= 255,
            !zoneName.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else {
            throw ValidationError("--zone (PARTIALFC_ZONE) is a name of at most 255 bytes without control characters")
        }
    }

    public func run() throws {
        try member.run("shard-server", version: Self.configuration.version) {
            try Endpoint.check("--bind", bind, to: .listen)
            let advertised = advertise ?? EnvironmentDefaults.text("PARTIALFC_ADVERTISE")
            return try ShardService(
                options: member, storage: storage, bind: bind,
                advertise: advertised.map { try AdvertisedAddress(option: "--advertise", $0) }, zone: zoneName,
                log: $0)
        }
    }
}

/// What an accident may cost.
enum Durability: String, ExpressibleByArgument, CaseIterable {
    /// Every step is logged: the end of a process loses nothing.
    case step
    /// Nothing is logged: the end of a process takes the cluster back to its last checkpoint.
    case checkpoint
}

/// When the log is brought to the disk.
enum Sync: String, ExpressibleByArgument, CaseIterable {
    case always, interval, never

    var mode: ShardStore.SyncMode {
        switch self {
        case .always: .always
        case .interval: .interval
        case .never: .never
        }
    }
}

/// Where and how a shard keeps its state.
struct StorageOptions: ParsableArguments {
    @Option(
        help: "Directory of this shard's durable state; every shard needs its own (environment: PARTIALFC_DIRECTORY).",
        completion: .directory)
    var directory: String?

    @Option(
        help: """
            Instead of --directory, for shard servers that are copies of each other: a directory in which each takes a free \
            sub-directory, one with slices first (environment: PARTIALFC_DIRECTORY_POOL).
            """,
        completion: .directory)
    var directoryPool: String?

    @Option(
        help: """
            step: every step is logged, so that nothing is lost when the process ends. checkpoint: nothing is logged, and \
            the whole cluster goes back to its last checkpoint (environment: PARTIALFC_DURABILITY).
            """)
    var durability = EnvironmentDefaults.choice("PARTIALFC_DURABILITY", of: Durability.self) ?? .step

    @Option(
        help: """
            When the log is brought to the disk, for the case of a power cut: always (every step), interval (every second) or \
            never (environment: PARTIALFC_SYNC).
            """)
    var sync = EnvironmentDefaults.choice("PARTIALFC_SYNC", of: Sync.self) ?? .interval

    @Option(
        help: """
            Take new snapshots when the log is longer than so many bytes; by default half of the state, at least 256 MiB \
            (environment: PARTIALFC_LOG_BYTES).
            """)
    var logBytes: Int?

    @Option(
        help: """
            Also take new snapshots when a restart would replay the log for longer than so many seconds; by default 600 \
            (environment: PARTIALFC_REPLAY_SECONDS).
            """)
    var replaySeconds: Double?

    @Option(
        help: """
            Bytes that are copied for snapshots after each step at most; by default 32 MiB, or 64 MiB for every second that a step \
            takes.
            """)
    var copyBytes: Int?

    @Option(
        help: """
            A directory on a fast disk for a table that is larger than the memory: rows, and what the optimiser keeps, are in files there, without a \
            name, while the process runs. Without it they are in memory (environment: PARTIALFC_TABLE_FILE).
            """,
        completion: .directory)
    var tableFile: String?

    /// What is used: of the command line, or else of the environment. Either way of naming a directory outdoes both variables.
    private var chosen: (directory: String?, pool: String?, table: String?, logBytes: Int?, replaySeconds: Double) {
        let isNamed = directory != nil || directoryPool != nil
        return (
            isNamed ? directory : EnvironmentDefaults.text("PARTIALFC_DIRECTORY"),
            isNamed ? directoryPool : EnvironmentDefaults.text("PARTIALFC_DIRECTORY_POOL"),
            tableFile ?? EnvironmentDefaults.text("PARTIALFC_TABLE_FILE"),
            logBytes ?? EnvironmentDefaults.value("PARTIALFC_LOG_BYTES", as: Int.self),
            replaySeconds ?? EnvironmentDefaults.value("PARTIALFC_REPLAY_SECONDS", as: Double.self)
                ?? SnapshotOptions().replaySeconds
        )
    }

    func validate() throws {
        let chosen = chosen
        if let problem = EnvironmentDefaults.problems.first { throw ValidationError(problem) }
        if durability == .step && chosen.directory == nil && chosen.pool == nil {
            throw ValidationError("--directory is missing; only --durability checkpoint keeps nothing")
        }
        if chosen.directory != nil && chosen.pool != nil {
            throw ValidationError("a directory and a pool of directories exclude each other: name one")
        }
        if let directory = chosen.table, let problem = WritablePlace.problem(ofDirectory: directory) {
            throw ValidationError("--table-file cannot be used: \(problem)")
        }
        guard copyBytes ?? 1 > 0 else {
            throw ValidationError("--copy-bytes \(copyBytes ?? 0) is not a number above 0")
        }
        guard chosen.logBytes ?? 0 >= 0 else {
            throw ValidationError("--log-bytes \(chosen.logBytes ?? 0) is below 0")
        }
        guard chosen.replaySeconds >= 0 else {
            throw ValidationError("--replay-seconds \(chosen.replaySeconds) is not a number that is at least 0")
        }
    }

    /// The directory, opened and locked, nil if nothing is to be kept; and those of a pool that were passed over.
    ///
    /// - Throws: `CenterStoreError` if it is used by another process, damaged, or cannot be written.
    func open() throws -> (store: ShardStore?, passedOver: [ShardStore.PassedOver]) {
        guard durability == .step else { return (nil, []) }
        if let pool = chosen.pool { return try ShardStore.claim(in: pool, sync: sync.mode) }
        return (try chosen.directory.map { try ShardStore(directory: $0, sync: sync.mode) }, [])
    }

    /// Whether the directory is one of a pool.
    var isPooled: Bool { chosen.pool != nil }

    var memory: TableMemory { chosen.table.map { .files(in: $0) } ?? .anonymous }

    var snapshots: SnapshotOptions {
        let chosen = chosen
        return SnapshotOptions(
            logByteCount: chosen.logBytes, replaySeconds: chosen.replaySeconds, copyByteCount: copyBytes)
    }
}
