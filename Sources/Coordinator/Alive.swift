import ArgumentParser
import Foundation
import OperatorStatus

/// `coordinator alive`.
struct Alive: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask whether the coordinator hears of the shard server or worker on a host.",
        discussion: """
            Members send heartbeats from the loop that does their work. Exit codes: 0 if one on that host is alive, 1 if there is \
            none, 69 if no coordinator answers. For health checks of containers, which have a host name each.
            """)
    @Argument(help: "The host name that the member runs under; by default this one.")
    var host = ProcessInfo.processInfo.hostName
    @OptionGroup var connection: Connection

    func run() throws {
        let names = try connection.status().aliveMembers(on: host)
        guard !names.isEmpty else {
            connection.complain("no member on \(host) is alive")
            throw ExitCode(1)
        }
        connection.print(names) { "\(names.joined(separator: ", ")): alive" }
    }
}
