import ArgumentParser
import CenterStore
import MemberSupport
import ShardState

/// A shard server: holds slices of the class centers and of the backbone's parameters, and serves steps.
@main
struct ShardServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shard-server",
        abstract:
            "Hold a part of the class centers and backbone parameters, and serve the steps of a training cluster.",
        discussion: """
            Joins the coordinator, which says what to train and which slices to own. On SIGTERM it hands its slices over \
            first, if others can take them; a second SIGTERM ends it at once, and its state stays in the directory. \
            Exit codes: 0 when it ends as asked, 77 refused by the coordinator, 78 a directory or configuration of another \
            run, 75 a directory in use, 65 a damaged file, 74 a file that cannot be read or written, 70 anything else.
            """,
        version: "0.1.0")

    @OptionGroup var member: MemberOptions

    @Option(help: "Where to listen for workers: tcp://ADDRESS:PORT; port * lets the system choose.")
    var bind = "tcp://127.0.0.1:*"

    @Option(help: "Host name or address that workers reach this shard at, if it is not the one it binds to.")
    var advertise: String?

    @OptionGroup var durability: DurabilityOptions

    func run() throws {
        try member.run("shard-server") {
            try ShardService(options: member, durability: durability, bind: bind, advertise: advertise, log: $0)
        }
    }
}

/// What the shard keeps, and where.
struct DurabilityOptions: ParsableArguments {
    enum Durability: String, ExpressibleByArgument, CaseIterable {
        case step
        case checkpoint
    }

    enum Sync: String, ExpressibleByArgument, CaseIterable {
        case always
        case interval
        case never

        var mode: ShardStore.SyncMode {
            switch self {
            case .always: .always
            case .interval: .interval
            case .never: .never
            }
        }
    }

    @Option(help: "The directory of the shard's state; needed unless --durability is checkpoint.")
    var directory: String?

    @Option(
        help: "What the death of the process costs: step: nothing; checkpoint: everything since the last checkpoint.")
    var durability = Durability.step

    @Option(
        help: "What a power cut costs: always: nothing; interval: about a second of steps; never: some seconds more.")
    var sync = Sync.interval

    @Option(help: "Take snapshots when the log has more bytes (default: half of the state, at least 256 MiB).")
    var logBytes: Int?

    @Option(help: "Bytes copied for snapshots after each step.")
    var copyBytes = 32 << 20

    func validate() throws {
        if durability == .step && (directory ?? "").isEmpty {
            throw ValidationError("--directory is needed, unless --durability is checkpoint")
        }
        if logBytes ?? 1 < 1 || copyBytes < 1 { throw ValidationError("--log-bytes and --copy-bytes must be above 0") }
    }

    /// Opens the directory; nil without one.
    ///
    /// - Throws: `CenterStoreError` if it is in use, damaged, or cannot be read or written.
    func open() throws(CenterStoreError) -> ShardStore? {
        guard durability == .step, let directory else { return nil }
        // Only whole files of the log are dropped: they must be shorter than what it may grow to.
        let segment = max(1 << 16, min(64 << 20, (logBytes ?? .max) / 4))
        return try ShardStore(directory: directory, sync: sync.mode, segmentByteLimit: segment)
    }

    var snapshots: SnapshotOptions { SnapshotOptions(logByteCount: logBytes, copyByteCount: copyBytes) }
}

extension CenterStoreError {
    /// What the process ends with when it fails of this.
    var exitCode: Int32 {
        switch code {
        case .locked: 75
        case .damaged: 65
        case .io, .diskFull: 74
        case .foreign: 78
        default: 70
        }
    }
}
