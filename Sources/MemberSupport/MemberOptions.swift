public import ArgumentParser
internal import Foundation
public import Logging
internal import ProcessSupport

/// What runs until it is told to stop.
public protocol MemberService: Sendable {
    /// Makes `run` return. From any thread.
    func stop(_ reason: String)
    /// Runs to the end and returns the exit code.
    func run() -> Int32
}

/// The options that workers and shard servers share, and how either is run.
public struct MemberOptions: ParsableArguments {
    @Option(help: "The coordinator's endpoint (environment: PARTIALFC_COORDINATOR).")
    public var coordinator = EnvironmentDefaults.text("PARTIALFC_COORDINATOR") ?? "tcp://127.0.0.1:7400"

    @Option(help: "Threads that compute (environment: PARTIALFC_THREADS).")
    public var threads = EnvironmentDefaults.value("PARTIALFC_THREADS", as: Int.self) ?? 1

    @Option(help: "A name for logs and refusals.")
    public var name = ProcessInfo.processInfo.hostName

    @Option(help: "What to log: debug, info, warning or error (environment: PARTIALFC_LOG_LEVEL).")
    public var logLevel = EnvironmentDefaults.text("PARTIALFC_LOG_LEVEL") ?? "info"

    @Flag(help: "End when the parent process ends.")
    public var exitWithParent = false

    public init() {}

    public func validate() throws {
        if let problem = EnvironmentDefaults.problems.first { throw ValidationError(problem) }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError("--log-level \(logLevel) is not a level")
        }
    }

    /// Makes a service, runs it until it ends or the process gets SIGTERM, and ends the process.
    ///
    /// - Throws: the exit code of the process if the service cannot be made.
    public func run(_ label: String, _ make: (Logger) throws -> any MemberService) throws -> Never {
        ProcessMemory.keepFreedMemory()
        let level = Logger.Level(rawValue: logLevel) ?? .info
        let log = Logger(label: label) { StandardErrorLog(label: $0, level: level) }
        let service: any MemberService
        do { service = try make(log) } catch {
            log.error("\(error)")
            throw ExitCode(70)
        }
        let signals = ProcessSignals(followParent: exitWithParent) { service.stop($0) }
        let code = service.run()
        withExtendedLifetime(signals) {}
        // A computation may still be under way; the libraries' static destructors must not run beneath it.
        fflush(nil)
        _exit(code)
    }
}
