import ArgumentParser
import ClusterKeys
import Configuration
import CoordinatorStore
import Foundation
import Logging
import Monitoring
import NetworkAddress
import ProcessSupport
import RunData
import Setup
import StepProtocol
import Wire

/// `coordinator serve`.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the coordinator of a cluster.",
        discussion: """
            Reads the run's configuration, opens the data to count classes and samples (unless data.classes, \
            data.samples and data.fingerprint are set), waits for cluster.shards shard servers and cluster.workers workers, and plans steps \
            until all are committed. Then it stays, so that the result can be inspected, until it gets SIGTERM.

            What it decides is kept in the --state directory. Started again there it goes on with the run; a configuration \
            that differs from the run's is refused with what differs (exit code 78).

            Without --keys everybody who reaches it is let in: see docs/security.md.
            """)

    @Option(
        help: "The YAML file that describes the run (environment: PARTIALFC_CONFIG).",
        completion: .file(extensions: ["yaml", "yml"]))
    var config: String?

    @Option(
        name: .customLong("set"), parsing: .singleValue,
        help: ArgumentHelp(
            "Override a key of the configuration; may be repeated (environment: PARTIALFC_SET, separated by spaces; these come first).",
            valueName: "section.key=value"))
    var settings: [String] = []

    @Option(
        help:
            "Where decisions are kept; by default the directory `state` in the run's output (environment: PARTIALFC_STATE).",
        completion: .directory)
    var state: String?

    @Option(
        help: ArgumentHelp("Begin a new run with the state of a checkpoint.", valueName: "checkpoint"),
        completion: .directory)
    var resume: String?

    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "Let a key of the configuration differ from the checkpoint's; may be repeated.", valueName: "section.key"))
    var accept: [String] = []

    @Flag(
        help: """
            The --state directory is lost: make it again from what the shard servers have, when all of them are there. Nothing if it \
            is not lost.
            """)
    var adopt = false

    @Option(
        help: ArgumentHelp(
            """
            Stand by for the coordinator at this endpoint: every decision of it is written here too, and `coordinator promote` has this \
            one take over. The configuration is that one's; --state is needed (environment: PARTIALFC_STANDBY).
            """, valueName: "endpoint"))
    var standby: String?

    @Flag(
        help: """
            As a standby, also one that has decided before: take over without an order when the coordinator is silent for cluster.lease_seconds and a majority of the shard \
            servers agrees (environment: PARTIALFC_AUTOMATIC=1).
            """)
    var automatic = false

    @Option(
        help: """
            The host name or address, and perhaps the port, by which the other coordinator reaches this one; by default what it binds to, \
            or this machine's host name if that is every address (environment: PARTIALFC_ADVERTISE).
            """)
    var advertise: String?

    @Option(
        help: """
            Where to listen: tcp://ADDRESS:PORT, with an address of this machine, of IPv4 or of IPv6 in brackets, or * for all of \
            them; port * lets the system choose (environment: PARTIALFC_BIND).
            """)
    var bind = EnvironmentDefaults.text("PARTIALFC_BIND") ?? "tcp://127.0.0.1:7400"

    @Option(
        help: ArgumentHelp(
            """
            Where the dashboard, metrics and JSON are served over HTTP, or off; port 0 lets the system choose. There is no \
            password. By default 127.0.0.1:7480, or another port if that one is taken (environment: PARTIALFC_HTTP).
            """, valueName: "address:port"))
    var http: String?

    @Option(help: "Write event files for TensorBoard into this directory.", completion: .directory)
    var tensorboard: String?

    @Option(
        help: "Write the endpoint, for processes of this machine, to this file once listening.", completion: .file())
    var endpointFile: String?

    @OptionGroup var keyOptions: KeyOptions

    @Option(help: "What to log: debug, info, warning or error (environment: PARTIALFC_LOG_LEVEL).")
    var logLevel = EnvironmentDefaults.text("PARTIALFC_LOG_LEVEL") ?? "info"

    @Flag(help: "End when the parent process ends.")
    var exitWithParent = false

    /// What the command line says, or else the environment.
    private var configurationFile: String? { config ?? EnvironmentDefaults.text("PARTIALFC_CONFIG") }

    var httpBinding: String? { http ?? EnvironmentDefaults.text("PARTIALFC_HTTP") }

    /// The coordinator that this one stands by for.
    var standsByFor: String? { standby ?? EnvironmentDefaults.text("PARTIALFC_STANDBY") }

    var isAutomatic: Bool { automatic || EnvironmentDefaults.text("PARTIALFC_AUTOMATIC") == "1" }

    private var stateDirectory: String? { state ?? EnvironmentDefaults.text("PARTIALFC_STATE") }

    func validate() throws {
        guard configurationFile != nil || standsByFor != nil else {
            throw ValidationError("--config is missing, and PARTIALFC_CONFIG is not set")
        }
        if let standby = standsByFor {
            if let problem = Endpoint.problem(of: "--standby", standby, to: .connect) { throw ValidationError(problem) }
            if config != nil || !settings.isEmpty {
                throw ValidationError(
                    "--standby takes the configuration of the coordinator at \(standby): leave --config and --set out")
            }
            if adopt || resume != nil {
                throw ValidationError("--standby waits for a coordinator that decides, --adopt and --resume begin one")
            }
        }
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError("--log-level \(logLevel) is not a level")
        }
        if let problem = httpBinding.flatMap(HTTPBinding.problem) { throw ValidationError(problem) }
        if adopt, resume != nil {
            throw ValidationError("--adopt goes on with the run of the shards, --resume begins one from a checkpoint")
        }
        if let key = accept.first, resume == nil {
            throw ValidationError("--accept \(key) needs --resume: it lets a key differ from the checkpoint's")
        }
    }

    func run() throws {
        let level = Logger.Level(rawValue: logLevel) ?? .info
        let log = Logger(label: "coordinator") { StandardErrorLog(label: $0, level: level) }
        var lastError = stateDirectory.map(LastError.init(stateDirectory:))
        do {
            try Endpoint.check("--bind", bind, to: .listen)
            if let problem = endpointFile.flatMap(WritablePlace.problem(ofFile:)) {
                throw OutputDirectoryError(description: "--endpoint-file cannot be written: \(problem)")
            }
            let security = try keyOptions.security(as: .coordinator)
            let configuration =
                standsByFor == nil
                ? try RunConfiguration(
                    file: configurationFile ?? "", settings: settings,
                    environment: EnvironmentDefaults.words("PARTIALFC_SET")
                ).countingData { log.warning("data: \($0)") } : nil
            guard let state = stateDirectory ?? configuration.map({ $0.output + "/state" }) else {
                throw StoredRunError(
                    "--standby needs --state DIRECTORY: where this coordinator keeps what the other one decides")
            }
            let error = LastError(stateDirectory: state)
            lastError = error
            let store = try CoordinatorDatabase(directory: state)
            defer { store.close() }
            try ServeRoles(
                options: self, security: security, configuration: configuration, store: store, log: log,
                hasBegun: { error.remove() }
            ).run()
        } catch {
            log.error("\(SystemProblem.text(error))")
            lastError?.write(error)
            throw ExitCode(Self.exitCode(error))
        }
    }

    /// Tells processes of this machine where to connect.
    func write(_ address: Endpoint) throws {
        guard let endpointFile else { return }
        try Data("\(address.fromThisMachine)".utf8).write(to: URL(fileURLWithPath: endpointFile), options: .atomic)
    }

    private static func exitCode(_ error: any Error) -> Int32 {
        switch error {
        case is AddressError: 64
        case is OutputDirectoryError: 73
        case is ConfigurationError, is StoredRunError, is KeyError: 78
        case let error as CoordinatorStoreError where error.code == .locked || error.code == .diskFull: 75
        default: 70
        }
    }
}
