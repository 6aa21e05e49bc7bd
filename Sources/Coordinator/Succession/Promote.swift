import ArgumentParser
import Cluster
import NetworkAddress
import Wire

/// `coordinator promote`.
struct Promote: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Have a standby take over.",
        discussion: """
            The coordinator is asked to hand over. If it does not answer, a majority of the shard servers must agree that it is gone; with \
            --force nobody is asked.

            --coordinator names the standby, or both.
            """)

    @Flag(
        help: """
            Take over although no majority of the shard servers can be asked. Only if the other coordinator is down and stays down: two \
            that decide would ruin the run.
            """)
    var force = false

    @OptionGroup var connection: Connection

    func run() throws {
        let security = try connection.security().coordinator
        var refusals: [String] = []
        for endpoint in Endpoint.each(of: connection.coordinator) {
            var hello = Hello(role: .operator, incarnation: 0)
            hello.name = Hello.promoterName
            do {
                let client = try OperatorClient(
                    connect: endpoint, hello: hello, security: security, deadline: .seconds(connection.timeout))
                defer { client.close() }
                let answer = try connection.exchange(
                    "promote", force ? ["force": "true"] : [:], as: PromotionReply.self, with: client)
                connection.print(answer) { "\(endpoint): \(answer.situation)" }
                return
            } catch let error as OperatorRefusal {
                refusals.append("\(endpoint): \(error.description)")
            } catch let error as WireError { refusals.append("\(error)") }
        }
        for refusal in refusals { connection.complain(refusal) }
        throw ExitCode(65)
    }
}
