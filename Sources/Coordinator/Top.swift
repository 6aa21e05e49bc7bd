import ArgumentParser
import ClusterConsole
import Foundation
import OperatorStatus
import ProcessSupport
import Wire

/// `coordinator top`.
struct Top: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the run on the whole screen, live.",
        discussion: """
            Keys: q quits, p pauses or resumes the run (and asks first), s sorts members by name, time or memory, arrows, page up and \
            page down scroll. Colours are left out if NO_COLOR is set. With --json it prints a status a line instead, until the run ends.
            """)
    @Option(help: "Seconds between two looks.") var interval = 1.0
    @Flag(help: "Print one frame and end; needs no terminal.") var once = false
    @OptionGroup var connection: Connection

    func validate() throws {
        guard interval >= 0.1, interval < 86_400 else {
            throw ValidationError("--interval \(interval) is not in 0.1..<86400")
        }
    }

    func run() throws {
        if connection.json { return try printStatuses() }
        if once {
            let client = try connection.connectToCoordinator()
            defer { client.close() }
            // One that does not answer, or not so, is complained about as elsewhere.
            _ = try connection.ask("status", as: ClusterStatus.self, of: client)
            let view = try TopView(connection, client)
            for line in TopFrame.lines(view, size: Self.pageSize, coloured: Self.isColoured) { print(line) }
            return
        }
        guard TerminalScreen.isPossible else {
            connection.complain("top needs a terminal; `coordinator status --json` and `coordinator top --once` do not")
            throw ExitCode(64)
        }
        let client = try connection.connectToCoordinator()
        _ = try connection.ask("status", as: ClusterStatus.self, of: client)
        let security = try connection.security()
        guard let screen = TerminalScreen() else {
            connection.complain("the terminal cannot be used")
            throw ExitCode(70)
        }
        let poller = TopPoller(connection, security, client, interval: interval, wake: screen.wake)
        defer {
            poller.close()
            screen.close()
        }
        var session = TopSession(screen: screen, poller: poller, isColoured: Self.isColoured)
        session.run()
    }

    private func printStatuses() throws {
        let client = try connection.connectToCoordinator()
        defer { client.close() }
        while true {
            let status = try connection.ask("status", as: ClusterStatus.self, of: client)
            print(String(decoding: try StatusJSON.encode(status), as: UTF8.self))
            fflush(nil)
            if once || status.state == "finished" { return }
            if status.state == "failed" { throw ExitCode(1) }
            Thread.sleep(forTimeInterval: interval)
        }
    }

    private static var isColoured: Bool {
        isatty(STDOUT_FILENO) == 1 && EnvironmentDefaults.text("NO_COLOR") == nil
            && EnvironmentDefaults.text("TERM") != "dumb"
    }

    /// Of a frame that goes elsewhere than to a terminal, what the shell says of it.
    private static var pageSize: ScreenSize {
        if let size = TerminalScreen.size { return size }
        let columns = EnvironmentDefaults.text("COLUMNS").flatMap { Int($0) } ?? 120
        let rows = EnvironmentDefaults.text("LINES").flatMap { Int($0) } ?? 50
        return ScreenSize(columns: columns, rows: rows)
    }
}
