import ArgumentParser
import Cluster
import ClusterKeys
import Foundation
import NetworkAddress
import OperatorStatus
import ProcessSupport
import Wire

/// A command that asks or tells a running coordinator.
protocol OperatorCommand: ParsableCommand {}

/// How operator commands reach the coordinator and print its answer.
struct Connection: ParsableArguments {
    @Option(
        help: """
            The coordinator's endpoint, tcp://HOST:PORT; of a coordinator with a standby both, with a comma between them (environment: \
            PARTIALFC_COORDINATOR).
            """)
    var coordinator = EnvironmentDefaults.text("PARTIALFC_COORDINATOR") ?? "tcp://127.0.0.1:7400"

    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: "Seconds to wait for an answer.")
    var timeout = 5.0

    @OptionGroup var keyOptions: KeyOptions

    func validate() throws {
        guard timeout > 0, timeout < 86_400 else {
            throw ValidationError("--timeout \(timeout) is not a number of seconds")
        }
        do { try Endpoint.check("--coordinator", eachOf: coordinator, to: .connect) } catch {
            throw ValidationError("\(error)")
        }
    }

    /// The cluster's status.
    func status() throws -> ClusterStatus { try ask("status", as: ClusterStatus.self) }

    /// Sends a command and decodes its answer; ends the process if there is none or it is a refusal.
    func ask<Answer: Decodable>(
        _ command: String, _ arguments: [String: String] = [:], as type: Answer.Type
    ) throws -> Answer {
        let client = try connectToCoordinator()
        defer { client.close() }
        return try ask(command, arguments, as: type, of: client)
    }

    /// Sends a command over an open connection and decodes its answer; ends the process if there is none or it is a refusal.
    func ask<Answer: Decodable>(
        _ command: String, _ arguments: [String: String] = [:], as type: Answer.Type, of client: OperatorClient
    ) throws -> Answer {
        do { return try exchange(command, arguments, as: type, with: client) } catch let error as OperatorRefusal {
            complain("\(error)")
            throw ExitCode(error.exitCode)
        } catch let error as WireError { throw failure(error) }
    }

    /// Sends a command over an open connection and decodes its answer.
    ///
    /// - Throws: `WireError` if there is none, `OperatorRefusal` if it is a refusal, `DecodingError`.
    func exchange<Answer: Decodable>(
        _ command: String, _ arguments: [String: String] = [:], as type: Answer.Type, with client: OperatorClient
    ) throws -> Answer {
        let order = OperatorRequest(command: command, arguments: arguments)
        let message = try client.request(.operatorRequest(order), deadline: .seconds(timeout))
        guard case .operatorReply(let reply) = message else { throw unexpected(message) }
        guard reply.exitCode == 0 else {
            let message = (try? StatusJSON.decode(OperatorError.self, from: reply.json).error) ?? reply.json
            throw OperatorRefusal(description: message, exitCode: Int32(reply.exitCode))
        }
        let answer = try StatusJSON.decode(type, from: reply.json)
        if let problem = AnswerCheck.problem(of: answer) {
            throw WireError(.field, "the answer to \(command) cannot be one: \(problem)")
        }
        return answer
    }

    /// The hashes of every shard, asked of the shards themselves.
    func hashes() throws -> StateHashes {
        let status = try status()
        var hashes = StateHashes(step: status.committed)
        // One that owns nothing has nothing to say, and may be gone for good.
        for shard in status.shards where !(shard.slices.isEmpty && shard.denseSlices.isEmpty) {
            let client = try connect(shard.endpoint, security().shards)
            defer { client.close() }
            let answer = try request(.readSliceHashes, of: client)
            guard case .sliceHashes(let part) = answer else { throw unexpected(answer) }
            guard part.step == status.committed else {
                complain(
                    "\(shard.name) holds step \(part.step), the cluster committed \(status.committed): pause it first")
                throw ExitCode(75)
            }
            hashes.slices.merge(part.slices) { $1 }
            hashes.denseSlices.merge(part.denseSlices) { $1 }
        }
        return hashes
    }

    /// How the process secures its connections; ends it with exit code 78 if its keys cannot be used.
    func security() throws -> ClusterSecurity {
        do { return try keyOptions.security(as: .operator, .reader) } catch {
            complain("\(error)")
            throw ExitCode(78)
        }
    }

    /// Connects to the coordinator, or ends the process.
    func connectToCoordinator() throws -> OperatorClient { try connect(coordinator, security().coordinator) }

    /// Connects to the coordinator, for commands that go on if it does not answer.
    func open(_ security: ClusterSecurity) throws(WireError) -> OperatorClient {
        try OperatorClient(connect: coordinator, security: security.coordinator, deadline: .seconds(timeout))
    }

    /// Connects, or ends the process with the exit code of what is wrong.
    private func connect(_ endpoint: String, _ security: ClientSecurity) throws -> OperatorClient {
        do {
            return try OperatorClient(connect: endpoint, security: security, deadline: .seconds(timeout))
        } catch { throw failure(error) }
    }

    /// Says what went wrong; 77 if keys do not allow it, else 69.
    func failure(_ error: WireError) -> ExitCode {
        complain(error.code == .forbidden ? error.message : "\(error)")
        return ExitCode(error.code == .forbidden ? 77 : 69)
    }

    /// Prints the answer: JSON if asked for, else `text`.
    func print(_ answer: some Encodable, text: () -> String) {
        guard json else {
            // Line by line: the lines are ours, what they say is not.
            Swift.print(
                text().split(separator: "\n", omittingEmptySubsequences: false).map(\.printable).joined(separator: "\n")
            )
            return
        }
        if let data = try? StatusJSON.encode(answer, pretty: true) {
            Swift.print(String(decoding: data, as: UTF8.self))
        }
    }

    private func request(_ message: WireMessage, of client: OperatorClient) throws -> WireMessage {
        do { return try client.request(message, deadline: .seconds(timeout)) } catch { throw failure(error) }
    }

    private func unexpected(_ answer: WireMessage) -> ExitCode {
        complain("the answer was a \(answer.name), which answers something else")
        return ExitCode(76)
    }

    /// Writes a line to standard error.
    func complain(_ text: String) { FileHandle.standardError.write(Data("coordinator: \(text.printableLines)\n".utf8)) }
}

/// The coordinator does not do what it was told.
struct OperatorRefusal: Error, CustomStringConvertible {
    var description: String
    /// What the process ends with.
    var exitCode: Int32
}

/// Why the coordinator did not do what it was told, as JSON.
struct OperatorError: Codable {
    var error: String
}
