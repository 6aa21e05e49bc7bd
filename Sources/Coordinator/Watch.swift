import ArgumentParser
import Foundation
import OperatorStatus
import ProcessSupport
import Wire

/// `coordinator watch`.
struct Watch: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the status again and again until the run ends.",
        discussion: "Redraws on a terminal; otherwise prints a line (or, with --json, an object) each time.")
    @OptionGroup var connection: Connection

    @Option(help: "Seconds between two looks.")
    var interval = 1.0

    func validate() throws {
        guard interval >= 0.1, interval < 86_400 else {
            throw ValidationError("--interval \(interval) is not in 0.1..<86400")
        }
    }

    func run() throws {
        let client = try connection.connectToCoordinator()
        defer { client.close() }
        let redraws = isatty(STDOUT_FILENO) == 1 && !connection.json
        while true {
            let status = try connection.ask("status", as: ClusterStatus.self, of: client)
            if connection.json {
                print(String(decoding: try StatusJSON.encode(status), as: UTF8.self))
            } else if redraws {
                let screen = [status.summary, status.shardTable, status.workerTable].joined(separator: "\n\n")
                // Home, each line cleared to its end, then everything below.
                print("\u{1B}[H" + screen.replacingOccurrences(of: "\n", with: "\u{1B}[K\n") + "\u{1B}[K\u{1B}[J")
            } else {
                print(status.line)
            }
            fflush(nil)
            if status.state == "finished" { return }
            if status.state == "failed" { throw ExitCode(1) }
            Thread.sleep(forTimeInterval: interval)
        }
    }
}
