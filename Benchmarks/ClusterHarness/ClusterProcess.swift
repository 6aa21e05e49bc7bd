public import Foundation

/// One process of a local cluster: its program, arguments and log stay the same when it is started again.
///
/// Use from one thread.
public final class ClusterProcess {
    /// Name of its log, without the extension.
    public let name: String
    public let program: URL
    /// What it gets when it is started the next time.
    public var arguments: [String]
    /// Variables over this process's own.
    public var environment: [String: String]
    public let log: URL
    /// The directory that it starts in; nil for this process's own.
    public var workingDirectory: URL?
    /// How often it was started.
    public private(set) var starts = 0
    /// Whether SIGSTOP holds it.
    public private(set) var isSuspended = false
    /// Whether a test, not the process itself, ended it the last time.
    public private(set) var wasEnded = false
    private var process = Process()

    /// - Parameter log: a file that every start appends to.
    public init(name: String, program: URL, arguments: [String], environment: [String: String], log: URL) {
        self.name = name
        self.program = program
        self.arguments = arguments
        self.environment = environment
        self.log = log
    }

    public var isRunning: Bool { starts > 0 && process.isRunning }
    public var processIdentifier: Int32 { process.processIdentifier }
    /// The exit code, or the signal that ended it. Only when it was started and has ended.
    public var terminationStatus: Int32 { process.terminationStatus }
    public var terminationReason: Process.TerminationReason { process.terminationReason }

    /// How it ended, for people; nil while it runs or before it was started.
    public var ending: String? {
        guard starts > 0, !process.isRunning else { return nil }
        return terminationReason == .exit ? "exit code \(terminationStatus)" : "signal \(terminationStatus)"
    }

    /// Starts it, again if it has ended.
    ///
    /// - Throws: `HarnessError` if it still runs or cannot be started.
    public func start() throws {
        guard !isRunning else { throw HarnessError("\(name) runs already") }
        if !FileManager.default.fileExists(atPath: log.path) {
            _ = FileManager.default.createFile(atPath: log.path, contents: nil)
        }
        let output = try FileHandle(forWritingTo: log)
        defer { try? output.close() }
        try output.seekToEnd()
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.currentDirectoryURL = workingDirectory
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        do { try process.run() } catch { throw HarnessError("\(program.path) cannot be started: \(error)") }
        self.process = process
        starts += 1
        isSuspended = false
        wasEnded = false
    }

    /// Ends it with SIGKILL and waits until it is gone.
    public func kill() {
        guard isRunning else { return }
        wasEnded = true
        Foundation.kill(processIdentifier, SIGKILL)
        process.waitUntilExit()
        isSuspended = false
    }

    /// Sends SIGTERM.
    public func terminate() {
        guard isRunning else { return }
        wasEnded = true
        process.terminate()
    }

    /// Stops it with SIGSTOP: it does nothing and loses nothing.
    public func suspend() {
        guard isRunning else { return }
        Foundation.kill(processIdentifier, SIGSTOP)
        isSuspended = true
    }

    /// Lets it go on after `suspend`.
    public func resume() {
        guard isRunning else { return }
        Foundation.kill(processIdentifier, SIGCONT)
        isSuspended = false
    }

    public func waitUntilExit() { if starts > 0 { process.waitUntilExit() } }

    /// Waits until it has ended.
    ///
    /// - Returns: false if it still runs after `seconds`.
    public func waitUntilExit(seconds: Double) -> Bool {
        let end = Date(timeIntervalSinceNow: seconds)
        while isRunning {
            if Date() > end { return false }
            Thread.sleep(forTimeInterval: 0.01)
        }
        return true
    }
}
