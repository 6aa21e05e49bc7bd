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

    private var stateDirectory: String? { state ?? EnvironmentDefaults.text("PARTIALFC_STATE") }

    func validate() throws {
        guard configurationFile != nil else {
            throw ValidationError("--config is missing, and PARTIALFC_CONFIG is not set")
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
            let configuration = try RunConfiguration(
                file: configurationFile ?? "", settings: settings,
                environment: EnvironmentDefaults.words("PARTIALFC_SET")
            ).countingData { log.warning("data: \($0)") }
            let state = stateDirectory ?? configuration.output + "/state"
            lastError = LastError(stateDirectory: state)
            let run = try StoredRun(
                directory: state, setup: RunSetup(configuration), resume: resume, accepted: accept,
                adopt: adopt ? { try adoption(security.server, $0, log) } : nil)
            let setup = run.setup
            if run.isContinued { log.info("going on after step \(run.record.committed), term \(run.record.term)") }
            let output = try OutputDirectory(
                setup.configuration.output, isContinued: run.isContinued, log: log)
            let monitor = httpBinding == "off" ? nil : ClusterMonitor(setup.configuration)
            let tensorBoard = try tensorboard.map {
                try TensorBoardFile(
                    directory: $0, committed: run.record.committed, batchSize: setup.configuration.batch.size, log: log)
            }
            let service = try CoordinatorService(
                setup: setup, run: run, bind: bind, security: security.server, monitor: monitor,
                tensorBoard: tensorBoard, log: log)
            if let adopted = run.adopted { service.note(.warning, adopted) }
            let pages = try monitor.map { try serve($0, log) }
            try write(service.address)
            lastError?.remove()
            let signals = ProcessSignals(followParent: exitWithParent) { service.stop($0) }
            service.run()
            pages?.close()
            withExtendedLifetime((signals, output)) {}
        } catch {
            log.error("\(SystemProblem.text(error))")
            lastError?.write(error)
            throw ExitCode(Self.exitCode(error))
        }
    }

    /// Tells processes of this machine where to connect.
    private func write(_ address: Endpoint) throws {
        guard let endpointFile else { return }
        try Data("\(address.fromThisMachine)".utf8).write(to: URL(fileURLWithPath: endpointFile), options: .atomic)
    }

    /// Waits for the shards of a coordinator whose state is lost.
    private func adoption(_ security: ServerSecurity, _ setup: RunSetup, _ log: Logger) throws -> Adopter.Found {
        let adopter = try Adopter(setup: setup, bind: bind, security: security, log: log)
        try write(adopter.address)
        let signals = ProcessSignals(followParent: exitWithParent) { reason in
            log.info("stopping: \(reason)")
            Foundation.exit(0)
        }
        defer { withExtendedLifetime(signals) {} }
        return adopter.run()
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
