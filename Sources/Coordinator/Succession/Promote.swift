import ArgumentParser
import Cluster
import Foundation
import NetworkAddress
import OperatorStatus
import Wire

/// `coordinator promote`.
struct Promote: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Have a standby take over.",
        discussion: """
            The coordinator is asked to hand over. If it does not answer, a majority of the shard servers must agree that it is gone; with \
            --force nobody is asked.

            --coordinator names the standby, or both. Waits until the standby decides, and says what it waits for; ending the command \
            takes nothing back.
            """)

    @Flag(
        help: """
            Take over although no majority of the shard servers can be asked. Only if the other coordinator is down and stays down: two \
            that decide would ruin the run.
            """)
    var force = false

    @Flag(help: "Give the order and do not wait.")
    var noWait = false

    @OptionGroup var connection: Connection

    func run() throws {
        var refusals: [String] = []
        for endpoint in Endpoint.each(of: connection.coordinator) {
            do {
                var answer = try ask("promote", force ? ["force": "true"] : [:], as: PromotionReply.self, endpoint)
                if !noWait { answer.situation = try wait(for: endpoint) }
                connection.print(answer) { "\(endpoint): \(answer.situation)" }
                return
            } catch let error as OperatorRefusal {
                refusals.append("\(endpoint): \(error.description)")
            } catch let error as WireError { refusals.append("\(error)") }
        }
        for refusal in refusals { connection.complain(refusal) }
        throw ExitCode(65)
    }

    /// Asks the standby until it decides.
    ///
    /// - Returns: what it does then.
    private func wait(for endpoint: String) throws -> String {
        var (told, begun) = ("", ContinuousClock.now)
        while true {
            var situation: String
            do {
                let status = try ask("status", as: ClusterStatus.self, endpoint)
                return "it decides since step \(status.committed + 1) (term \(status.term))"
            } catch let error as OperatorRefusal {
                situation = error.description
            } catch let error as WireError { situation = "\(error)" }
            // An order that goes through at once needs no words.
            if situation != told, .now - begun > .seconds(told.isEmpty ? 1 : 5) {
                (told, begun) = (situation, .now)
                connection.complain("\(endpoint): \(situation)")
            }
            Thread.sleep(forTimeInterval: 0.1)
        }
    }

    /// Asks one of the two, whatever the other one is.
    private func ask<Answer: Decodable>(
        _ command: String, _ arguments: [String: String] = [:], as type: Answer.Type, _ endpoint: String
    ) throws -> Answer {
        var hello = Hello(role: .operator, incarnation: 0)
        hello.name = Hello.promoterName
        let client = try OperatorClient(
            connect: endpoint, hello: hello, security: connection.security().coordinator,
            deadline: .seconds(connection.timeout))
        defer { client.close() }
        return try connection.exchange(command, arguments, as: type, with: client)
    }
}
