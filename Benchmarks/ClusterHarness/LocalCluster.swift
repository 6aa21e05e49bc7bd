public import ClusterKeys
public import Foundation
public import Wire

/// A cluster of real processes on this machine, for tests and experiments.
///
/// Every process gets its own log in `directory`, which survives its restarts, and ends when this process ends. Members bind to a
/// free port of the loopback; the coordinator keeps its port over restarts. Each shard has a directory of its own for its
/// state. Use from one thread.
public final class LocalCluster {
    /// Where logs, the configuration, the processes' states and the run's output go.
    public let directory: URL
    /// Where the coordinator listens.
    public let endpoint: String
    public private(set) var coordinator: ClusterProcess?
    /// The coordinator that stands by at first, and where it listens; nil without one.
    public private(set) var standby: ClusterProcess?
    private let standbyEndpoint: String?
    /// Where members and operators look for the coordinator.
    public var endpoints: String { [endpoint, standbyEndpoint].compactMap(\.self).joined(separator: ",") }
    /// In the order in which they were added, those that have ended too.
    public private(set) var shards: [ClusterProcess] = []
    public private(set) var workers: [ClusterProcess] = []
    /// Options for every shard server that is added.
    public var shardArguments: [String] = []
    /// The directory that processes start in; nil for this process's own.
    public var workingDirectory: URL?
    /// The keys of all processes; nil without any.
    public let keys: LocalKeys?
    /// Where the processes are instead of on the loopback; nil: there.
    public let network: ClusterNetwork?
    let binaries: URL
    private let environment: [String: String]

    /// - Parameters:
    ///   - directory: where everything goes; one that has been used keeps its states.
    ///   - binaries: the directory of the executables; by default the one this executable lies in.
    ///   - environment: variables for every process, over this process's own.
    ///   - encryption: gives all processes keys, and says what is encrypted with them.
    ///   - network: gives every process an address of its own.
    ///   - hasStandby: whether members know of a second coordinator (`startStandby`).
    /// - Throws: if the directory cannot be made or there is no free port.
    public init(
        directory: URL, binaries: URL? = nil, environment: [String: String] = [:], encryption: Encryption? = nil,
        hasStandby: Bool = false, network: ClusterNetwork? = nil
    ) throws {
        self.directory = directory
        self.binaries = binaries ?? Self.builtBinaries
        self.environment = environment
        self.network = network
        endpoint = "tcp://\(try network?.address(of: "coordinator") ?? "127.0.0.1"):\(try FreePort.find())"
        standbyEndpoint = hasStandby ? "tcp://127.0.0.1:\(try FreePort.find())" : nil
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        keys = try encryption.map { try LocalKeys(directory.appending(path: "keys"), encryption: $0) }
    }

    deinit { stop() }

    /// The directory of the running executable: tests and experiments are built beside the cluster's programs.
    public static var builtBinaries: URL {
        URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }

    /// Where the coordinator keeps its decisions.
    public var stateDirectory: URL { directory.appending(path: "state") }

    /// Where shard `index`, in the order of `addShard`, keeps its slices and its log.
    public func shardDirectory(_ index: Int) -> URL { directory.appending(path: "shard-\(index)") }

    /// Starts a coordinator for the configuration text and waits until it listens.
    ///
    /// - Parameters:
    ///   - settings: keys of the configuration to override: `section.key=value`.
    ///   - arguments: further options of `coordinator serve`.
    /// - Throws: `HarnessError` if it ends or does not listen within 60 seconds.
    public func startCoordinator(configuration: String, settings: [String] = [], arguments: [String] = []) throws {
        let file = directory.appending(path: "run.yaml")
        try configuration.write(to: file, atomically: true, encoding: .utf8)
        let process = try make(
            "coordinator", log: "coordinator",
            [
                "serve", "--config", file.path, "--bind", endpoint, "--endpoint-file", endpointFile.path,
                "--state", stateDirectory.path, "--exit-with-parent",
            ]
                + (["output=\(directory.path)"] + settings).flatMap { ["--set", $0] } + keyArguments("coordinator")
                + arguments)
        coordinator = process
        try startCoordinator()
    }

    /// Starts the coordinator that stands by, in a cluster that has one.
    ///
    /// - Parameter arguments: further options of `coordinator serve`.
    public func startStandby(arguments: [String] = []) throws {
        guard let standbyEndpoint else { throw HarnessError("this cluster has no standby") }
        let process = try make(
            "coordinator", log: "standby",
            [
                "serve", "--standby", endpoint, "--bind", standbyEndpoint, "--state",
                directory.appending(path: "standby-state").path, "--http", "off", "--exit-with-parent",
            ] + keyArguments("coordinator") + arguments)
        standby = process
        try process.start()
    }

    /// Starts the coordinator again, with the state it has left, and waits until it listens.
    ///
    /// - Throws: `HarnessError` if there was none, it ends or does not listen within 60 seconds.
    public func startCoordinator() throws {
        guard let coordinator else { throw HarnessError("there was no coordinator yet") }
        try? FileManager.default.removeItem(at: endpointFile)
        try coordinator.start()
        try waitUntil("the coordinator listens", seconds: 60) {
            guard coordinator.isRunning else {
                throw HarnessError("the coordinator ended: \(self.log("coordinator"))")
            }
            return FileManager.default.fileExists(atPath: self.endpointFile.path)
        }
    }

    private var endpointFile: URL { directory.appending(path: "endpoint") }

    /// Kills the coordinator and starts it again.
    ///
    /// - Throws: `HarnessError` if it does not come back.
    public func restartCoordinator() throws {
        coordinator?.kill()
        try startCoordinator()
    }

    /// Starts one more shard server.
    ///
    /// - Parameters:
    ///   - directory: where it keeps its state; by default one of its own, kept over restarts.
    ///   - arguments: options after those of `shardArguments`.
    ///   - environment: variables over the cluster's.
    @discardableResult
    public func addShard(
        threads: Int = 1, directory: URL? = nil, arguments: [String] = [], environment: [String: String] = [:]
    ) throws -> ClusterProcess {
        let host = try network?.address(of: "shard-\(shards.count)") ?? "127.0.0.1"
        let process = try make(
            "shard-server", log: "shard-\(shards.count)",
            [
                "--coordinator", endpoints, "--bind", "tcp://\(host):*", "--threads", "\(threads)", "--directory",
                (directory ?? shardDirectory(shards.count)).path, "--exit-with-parent",
            ] + shardArguments + keyArguments("shard-server") + arguments, environment: environment)
        shards.append(process)
        try process.start()
        return process
    }

    /// Starts one more worker.
    @discardableResult
    public func addWorker(
        threads: Int = 1, arguments: [String] = [], environment: [String: String] = [:]
    ) throws -> ClusterProcess {
        let process = try make(
            "worker", log: "worker-\(workers.count)",
            ["train", "--coordinator", endpoints, "--threads", "\(threads)", "--exit-with-parent"]
                + keyArguments("worker") + arguments,
            environment: environment)
        workers.append(process)
        try process.start()
        return process
    }

    /// Kills a shard server and starts it again in its directory.
    public func restartShard(_ index: Int) throws {
        shards[index].kill()
        try shards[index].start()
    }

    /// Every process that was ever started, the coordinator last.
    public var processes: [ClusterProcess] { workers + shards + [coordinator, standby].compactMap(\.self) }

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
    public func kill(_ process: ClusterProcess) { process.kill() }

    /// Kills every process with SIGKILL.
    public func killAll() { for process in processes { process.kill() } }

    /// Ends every process: SIGTERM, more of them for shards, which would hand over their slices first, and SIGKILL for those that are
    /// still there after five seconds. The coordinator goes last, so that it hears the others' goodbye.
    public func stop() {
        for group in [workers + shards, [coordinator, standby].compactMap(\.self)] {
            for process in group {
                process.resume()
                process.terminate()
            }
            var again = Date(timeIntervalSinceNow: 0.05)
            let end = Date(timeIntervalSinceNow: 5)
            while group.contains(where: \.isRunning) && Date() < end {
                Thread.sleep(forTimeInterval: 0.005)
                guard Date() >= again else { continue }
                again = Date(timeIntervalSinceNow: 0.05)
                for process in group where shards.contains(where: { $0 === process }) { process.terminate() }
            }
            for process in group { process.kill() }
        }
        workers = []
        shards = []
        (coordinator, standby) = (nil, nil)
    }

    /// Options that give a process the keys of a holder; none without keys.
    func keyArguments(_ holder: String) -> [String] { keys?.arguments(holder) ?? [] }

    /// How this program secures its connections as the operator.
    ///
    /// - Throws: `KeyError` if the operator's keys cannot be read.
    public func operatorSecurity() throws -> ClusterSecurity {
        try keys?.security("operator", as: .operator) ?? .none
    }

    /// How a program is started where a process of this cluster is, or, without a name, where all of them are reached.
    func command(_ program: URL, _ arguments: [String], at name: String? = nil) throws -> (URL, [String]) {
        try network?.command(program, arguments, at: name) ?? (program, arguments)
    }

    private func make(
        _ program: String, log: String, _ arguments: [String], environment: [String: String] = [:]
    ) throws -> ClusterProcess {
        let (program, arguments) = try command(binaries.appending(path: program), arguments, at: log)
        let process = ClusterProcess(
            name: log, program: program, arguments: arguments,
            environment: self.environment.merging(environment) { $1 }, log: directory.appending(path: "\(log).log"))
        process.workingDirectory = workingDirectory
        return process
    }
}
