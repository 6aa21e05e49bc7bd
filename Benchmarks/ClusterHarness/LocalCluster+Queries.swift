public import Foundation
public import OperatorStatus
internal import Wire

extension LocalCluster {
    /// Runs `coordinator COMMAND --json` against this cluster and returns what it prints.
    ///
    /// - Throws: `HarnessError` with what it said if the command fails.
    public func query(_ command: String, _ arguments: [String] = []) throws -> Data {
        let process = Process()
        (process.executableURL, process.arguments) = try self.command(
            binaries.appending(path: "coordinator"),
            [command] + arguments + ["--json", "--coordinator", endpoints] + keyArguments("operator"))
        let output = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        let errors = directory.appending(path: "command-\(UUID().uuidString.prefix(8)).err")
        _ = FileManager.default.createFile(atPath: errors.path, contents: nil)
        defer { try? FileManager.default.removeItem(at: errors) }
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            let problem = (try? String(contentsOf: errors, encoding: .utf8)) ?? ""
            throw HarnessError("coordinator \(command) ended with \(process.terminationStatus): \(problem)")
        }
        return data
    }

    /// Runs a query and reads its JSON object.
    public func object(_ command: String, _ arguments: [String] = []) throws -> [String: Any] {
        try JSONSerialization.jsonObject(with: query(command, arguments)) as? [String: Any] ?? [:]
    }

    /// Runs `coordinator COMMAND --json` and leaves it to itself.
    @discardableResult
    public func order(_ command: String, _ arguments: [String] = []) throws -> ClusterProcess {
        let (program, arguments) = try self.command(
            binaries.appending(path: "coordinator"),
            [command] + arguments + ["--json", "--coordinator", endpoints] + keyArguments("operator"))
        let process = ClusterProcess(
            name: "command", program: program, arguments: arguments, environment: [:],
            log: directory.appending(path: "command.log"))
        try process.start()
        return process
    }

    /// What the coordinator says of the cluster, asked over a connection of this process.
    ///
    /// - Throws: `WireError` if it does not answer within `seconds`; `DecodingError` if the answer is not a status.
    public func status(seconds: Double = 5) throws -> ClusterStatus {
        // This process is in no network of the cluster.
        if network != nil { return try Self.status(from: query("status")) }
        let client = try OperatorClient(
            connect: endpoints, security: operatorSecurity().coordinator, deadline: .seconds(seconds))
        defer { client.close() }
        let answer = try client.request(
            .operatorRequest(OperatorRequest(command: "status")), deadline: .seconds(seconds))
        guard case .operatorReply(let reply) = answer else {
            throw HarnessError("status was answered by \(answer.name)")
        }
        return try Self.status(from: Data(reply.json.utf8))
    }

    private static func status(from json: Data) throws -> ClusterStatus {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return try decoder.decode(ClusterStatus.self, from: json)
    }

    /// The last committed step, or -1.
    public func committedStep() throws -> Int { try status().committed }

    /// What the coordinator calls a shard server, as which process it knows it.
    ///
    /// - Throws: `HarnessError` if it does not know the process.
    public func name(of shard: ClusterProcess) throws -> String {
        guard let found = try status().shards.first(where: { $0.processID == Int(shard.processIdentifier) }) else {
            throw HarnessError("the coordinator does not know \(shard.name), process \(shard.processIdentifier)")
        }
        return found.name
    }

    /// Waits until the coordinator's status fulfils `condition`; a coordinator that does not answer meanwhile is asked again.
    ///
    /// - Returns: that status.
    /// - Throws: `HarnessError` if the run fails or `seconds` pass.
    @discardableResult
    public func waitForStatus(
        _ what: String, seconds: Double, _ condition: (ClusterStatus) throws -> Bool
    ) throws -> ClusterStatus {
        let end = Date(timeIntervalSinceNow: seconds)
        var last = "no answer"
        while Date() < end {
            do {
                let status = try status(seconds: 1)
                if try condition(status) { return status }
                if status.state == "failed" { throw HarnessError("the run failed: \(status.reason)") }
                last = "\(status.state) \(status.reason), step \(status.committed)"
            } catch let error as WireError {
                last = "\(error)"
            }
            Thread.sleep(forTimeInterval: 0.02)
        }
        throw HarnessError("after \(seconds) s it is not so that \(what) (\(last))")
    }

    /// Waits until a step after `step` is committed.
    ///
    /// - Throws: `HarnessError` if the run fails or `seconds` pass.
    public func waitUntilCommitted(_ step: Int, seconds: Double = 60) throws {
        try waitForStatus("step \(step) is committed", seconds: seconds) { $0.committed >= step }
    }

    /// Waits until the run is finished; a run that pauses is resumed.
    ///
    /// - Throws: `HarnessError` if the run fails, the coordinator ends, or `seconds` pass.
    public func waitUntilFinished(seconds: Double) throws {
        try waitForStatus("the run is finished", seconds: seconds) {
            guard self.coordinator?.isRunning == true || self.standby?.isRunning == true else {
                throw HarnessError("the coordinator ended: \(self.log("coordinator"))")
            }
            if $0.state == "paused" { _ = try self.query("resume") }
            return $0.state == "finished"
        }
    }

    /// Runs one of the programs to its end.
    ///
    /// - Returns: its exit code and what it printed, standard output and standard error together.
    public static func run(
        _ program: String, _ arguments: [String], environment: [String: String] = [:]
    ) throws -> (code: Int32, text: String) {
        let process = Process()
        process.executableURL = builtBinaries.appending(path: program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let output = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }

    /// Runs a command against this cluster to its end.
    ///
    /// - Returns: its exit code and what it printed, standard output and standard error together.
    public func run(_ command: String, _ arguments: [String] = []) throws -> (code: Int32, text: String) {
        try Self.run("coordinator", [command] + arguments + ["--coordinator", endpoints] + keyArguments("operator"))
    }
}
