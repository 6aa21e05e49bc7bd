public import ArgumentParser
internal import ClusterKeys
internal import Foundation
public import Logging
public import Monitoring
internal import NetworkAddress
internal import ProcessSupport
public import Wire

/// What runs until it is told to stop.
public protocol MemberService: Sendable {
    /// Makes `run` return. From any thread.
    func stop(_ reason: String)
    /// Whether it is alive and can do its work; its loop makes a turn a second at least.
    var health: ProcessHealth { get }
    /// Appends its own figures to its `/metrics`. From any thread, without waiting for the loop.
    func addMetrics(to text: inout MetricsText)
    /// Runs to the end and returns the exit code.
    func run() -> Int32
}

/// The options that workers and shard servers share, and how either is run.
public struct MemberOptions: ParsableArguments {
    @Option(
        help: """
            The coordinator's endpoint, tcp://HOST:PORT; of a coordinator with a standby both, with a comma between them (environment: \
            PARTIALFC_COORDINATOR).
            """)
    public var coordinator = EnvironmentDefaults.text("PARTIALFC_COORDINATOR") ?? "tcp://127.0.0.1:7400"

    @Option(
        name: .customLong("threads"),
        help:
            "Threads that compute; by default one for every core that the process may use (environment: PARTIALFC_THREADS)."
    )
    var requestedThreads: Int?

    @Option(help: "Cores to stay on, such as 0-3,8; by default the system decides.")
    public var cores: String?

    @Option(help: "A name for logs and refusals.")
    public var name = ProcessInfo.processInfo.hostName

    @Option(help: "What to log: debug, info, warning or error (environment: PARTIALFC_LOG_LEVEL).")
    public var logLevel = EnvironmentDefaults.text("PARTIALFC_LOG_LEVEL") ?? "info"

    @Option(
        help: ArgumentHelp(
            "Where this process serves /metrics, /healthz and /readyz over HTTP; port 0 lets the system choose (environment: PARTIALFC_HTTP).",
            valueName: "address:port"))
    public var http = EnvironmentDefaults.text("PARTIALFC_HTTP") ?? "off"

    @OptionGroup var keyOptions: KeyOptions

    @Flag(help: "End when the parent process ends.")
    public var exitWithParent = false

    public init() {}

    /// How the process secures its sockets.
    ///
    /// - Throws: an error that ends the process with exit code 78 if the keys cannot be used.
    public func security(as role: KeyRole) throws -> ClusterSecurity { try keyOptions.security(as: role) }

    /// Threads that compute. Every process of a machine may have one for each core: they take blocks of arithmetic from a common
    /// list, and none waits by spinning.
    public var threads: Int {
        requestedThreads ?? EnvironmentDefaults.value("PARTIALFC_THREADS", as: Int.self)
            ?? min(1024, ProcessorCores.usableCount)
    }

    public func validate() throws {
        // Whether or not the command line says the same: what is wrong in the environment is said.
        _ = EnvironmentDefaults.value("PARTIALFC_THREADS", as: Int.self)
        if let problem = EnvironmentDefaults.problems.first { throw ValidationError(problem) }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
        if let cores, ProcessorCores(list: cores) == nil {
            throw ValidationError("--cores \(cores) is not a list of cores such as 0-3,8")
        }
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError("--log-level \(logLevel) is not a level")
        }
        if let problem = HTTPBinding.problem(of: http) { throw ValidationError(problem) }
        let isPlain = name.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) }
        guard isPlain, !name.isEmpty, name.utf8.count <= 200 else {
            throw ValidationError("--name has control characters, or not 1 to 200 bytes")
        }
    }

    /// Makes a service, runs it until it ends or the process gets SIGTERM, and ends the process.
    ///
    /// - Throws: the exit code of the process if the service cannot be made.
    public func run(
        _ label: String, version: String, _ make: (Logger) throws -> any MemberService
    ) throws -> Never {
        ProcessMemory.keepFreedMemory()
        // Before there is any other thread, and before the number of threads is asked for.
        if let cores, let list = ProcessorCores(list: cores), !list.keepThreadHere() {
            FileHandle.standardError.write(
                Data(
                    "--cores \(cores): this process may not run on any of them (\(ProcessorCores.allowed.numbers.map(String.init).joined(separator: ",")) are allowed)\n"
                        .utf8))
            throw ExitCode(64)
        }
        let level = Logger.Level(rawValue: logLevel) ?? .info
        let log = Logger(label: label) { StandardErrorLog(label: $0, level: level) }
        let service: any MemberService
        do {
            try Endpoint.check("--coordinator", eachOf: coordinator, to: .connect)
            service = try make(log)
        } catch {
            log.error("\(error)")
            throw ExitCode(error is AddressError ? 64 : error is KeyError ? 78 : 70)
        }
        let pages: HTTPServer?
        do { pages = try servePages(label, version, service) } catch {
            log.error("\(error)")
            throw ExitCode(70)
        }
        if let pages { log.info("metrics at \(pages.url)metrics") }
        let signals = ProcessSignals(followParent: exitWithParent) { service.stop($0) }
        let code = service.run()
        withExtendedLifetime((signals, pages)) {}
        // A computation may still be under way; the libraries' static destructors must not run beneath it.
        fflush(nil)
        _exit(code)
    }

    private func servePages(
        _ program: String, _ version: String, _ service: any MemberService
    ) throws(HTTPServerError) -> HTTPServer? {
        guard case .at(let address) = HTTPBinding(http) else { return nil }
        let counters = HTTPCounters()
        let pages = MemberPages(health: service.health) {
            var text = MetricsText()
            text.addBuild(program: program, version: version)
            service.addMetrics(to: &text)
            text.add("partialfc_ready", .gauge, "Whether this process can do its work.", service.health.isReady ? 1 : 0)
            text.add(
                "partialfc_loop_age_seconds", .gauge, "Since the last turn of this process's loop.",
                service.health.turnAge)
            text.addHTTP(counters.values)
            text.addProcess()
            return text
        }
        return try HTTPServer(bind: address, counters: counters, handler: pages.answer)
    }
}
