public import Foundation

/// A cluster of real processes on this machine, for tests and experiments.
///
/// Every process gets its own log in `directory`, binds to a free port of the loopback, and ends when this process ends.
/// Use from one thread.
public final class LocalCluster {
    /// Where logs, the configuration and the run's output go.
    public let directory: URL
    /// The coordinator's endpoint, known once it has started.
    public private(set) var endpoint = ""
    public private(set) var coordinator: Process?
    public private(set) var shards: [Process] = []
    public private(set) var workers: [Process] = []
    private let binaries: URL
    private let environment: [String: String]

    /// - Parameters:
    ///   - directory: an empty or missing directory.
    ///   - binaries: the directory of the executables; by default the one this executable lies in.
    ///   - environment: variables for every process, over this process's own.
    /// - Throws: if the directory cannot be made.
    public init(directory: URL, binaries: URL? = nil, environment: [String: String] = [:]) throws {
        self.directory = directory
        self.binaries = binaries ?? Self.builtBinaries
        self.environment = environment
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    deinit { stop() }

    /// The directory of the running executable: tests and experiments are built beside the cluster's programs.
    public static var builtBinaries: URL {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }

    /// Starts a coordinator for the configuration text and waits until it listens.
    ///
    /// - Throws: `HarnessError` if it ends or does not listen within 30 seconds.
    public func startCoordinator(configuration: String, settings: [String] = []) throws {
        let file = directory.appending(path: "run.yaml")
        try configuration.write(to: file, atomically: true, encoding: .utf8)
        let endpointFile = directory.appending(path: "endpoint")
        try? FileManager.default.removeItem(at: endpointFile)
        let process = try launch(
            "coordinator",
            [
                "serve", "--config", file.path, "--bind", "tcp://127.0.0.1:*", "--endpoint-file", endpointFile.path,
                "--exit-with-parent",
            ]
                + (["output=\(directory.path)"] + settings).flatMap { ["--set", $0] },
            log: "coordinator")
        coordinator = process
        try waitUntil("the coordinator listens", seconds: 30) {
            guard process.isRunning else { throw HarnessError("the coordinator ended: \(self.log("coordinator"))") }
            self.endpoint = (try? String(contentsOf: endpointFile, encoding: .utf8)) ?? ""
            return !self.endpoint.isEmpty
        }
    }

    /// Starts one more shard server.
    @discardableResult
    public func addShard(threads: Int = 1) throws -> Process {
        let process = try launch(
            "shard-server",
            [
                "--coordinator", endpoint, "--bind", "tcp://127.0.0.1:*", "--threads", "\(threads)",
                "--exit-with-parent",
            ],
            log: "shard-\(shards.count)")
        shards.append(process)
        return process
    }

    /// Starts one more worker.
    @discardableResult
    public func addWorker(threads: Int = 1, arguments: [String] = []) throws -> Process {
        let process = try launch(
            "worker",
            ["train", "--coordinator", endpoint, "--threads", "\(threads)", "--exit-with-parent"] + arguments,
            log: "worker-\(workers.count)")
        workers.append(process)
        return process
    }

    /// Runs `coordinator COMMAND --json` against this cluster and returns what it prints.
    ///
    /// - Throws: `HarnessError` if the command fails.
    public func query(_ command: String) throws -> Data {
        let process = Process()
        process.executableURL = binaries.appending(path: "coordinator")
        process.arguments = [command, "--json", "--coordinator", endpoint]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw HarnessError("coordinator \(command) ended with \(process.terminationStatus)")
        }
        return data
    }

    /// Runs a query and reads its JSON object.
    public func object(_ command: String) throws -> [String: Any] {
        try JSONSerialization.jsonObject(with: query(command)) as? [String: Any] ?? [:]
    }

    /// The last committed step, or -1.
    public func committedStep() throws -> Int { try object("status")["committed"] as? Int ?? -1 }

    /// Waits until the run is finished.
    ///
    /// - Throws: `HarnessError` if the run fails, the coordinator ends, or `seconds` pass.
    public func waitUntilFinished(seconds: Double) throws {
        try waitUntil("the run is finished", seconds: seconds) {
            guard self.coordinator?.isRunning == true else {
                throw HarnessError("the coordinator ended: \(self.log("coordinator"))")
            }
            let status = try self.object("status")
            if status["state"] as? String == "failed" {
                throw HarnessError("the run failed: \(status["reason"] ?? "")")
            }
            return status["state"] as? String == "finished"
        }
    }

    /// Waits until `condition` holds, asking every 50 ms.
    public func waitUntil(_ what: String, seconds: Double, _ condition: () throws -> Bool) throws {
        let end = Date(timeIntervalSinceNow: seconds)
        while try !condition() {
            if Date() > end { throw HarnessError("after \(seconds) s it is not so that \(what)") }
            Thread.sleep(forTimeInterval: 0.05)
        }
    }

    /// The end of a process's log.
    public func log(_ name: String, lines: Int = 15) -> String {
        let text = (try? String(contentsOf: directory.appending(path: "\(name).log"), encoding: .utf8)) ?? ""
        return text.split(separator: "\n").suffix(lines).joined(separator: "\n")
    }

    /// Kills a process with SIGKILL and waits until it is gone.
    public func kill(_ process: Process) {
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// Ends every process: SIGTERM, and SIGKILL for those that are still there after five seconds. The coordinator goes
    /// last, so that it hears the others' goodbye.
    public func stop() {
        for group in [workers + shards, [coordinator].compactMap(\.self)] {
            for process in group where process.isRunning { process.terminate() }
            let end = Date(timeIntervalSinceNow: 5)
            for process in group {
                while process.isRunning && Date() < end { Thread.sleep(forTimeInterval: 0.01) }
                if process.isRunning { kill(process) }
            }
        }
        workers = []
        shards = []
        coordinator = nil
    }

    /// Runs one of the programs to its end.
    ///
    /// - Returns: its exit code and what it printed, standard output and standard error together.
    public static func run(_ program: String, _ arguments: [String]) throws -> (code: Int32, text: String) {
        let process = Process()
        process.executableURL = builtBinaries.appending(path: program)
        process.arguments = arguments
        let output = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }

    private func launch(_ name: String, _ arguments: [String], log: String) throws -> Process {
        let url = directory.appending(path: "\(log).log")
        _ = FileManager.default.createFile(atPath: url.path, contents: nil)
        let output = try FileHandle(forWritingTo: url)
        let process = Process()
        process.executableURL = binaries.appending(path: name)
        process.arguments = arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        try process.run()
        return process
    }
}

/// Why an experiment with a cluster could not go on.
public struct HarnessError: Error, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
