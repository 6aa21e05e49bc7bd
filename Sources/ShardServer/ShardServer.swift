import ArgumentParser
import Foundation
import Logging
import ProcessSupport

/// A shard server: holds slices of the class centers and of the backbone's parameters, and serves steps.
@main
struct ShardServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shard-server",
        abstract:
            "Hold a part of the class centers and backbone parameters, and serve the steps of a training cluster.",
        discussion: """
            Joins the coordinator, which says what to train and which slices to own. Ends on SIGTERM with exit code 0. \
            Refused by the coordinator: 77. Lost its part of the run: 70.
            """,
        version: "0.1.0")

    @Option(help: "The coordinator's endpoint (environment: PARTIALFC_COORDINATOR).")
    var coordinator = ProcessInfo.processInfo.environment["PARTIALFC_COORDINATOR"] ?? "tcp://127.0.0.1:7400"

    @Option(help: "Where to listen for workers: tcp://ADDRESS:PORT; port * lets the system choose.")
    var bind = "tcp://127.0.0.1:*"

    @Option(help: "Host name or address that workers reach this shard at, if it is not the one it binds to.")
    var advertise: String?

    @Option(help: "Threads that compute.")
    var threads = 1

    @Option(help: "A name for logs and refusals.")
    var name = ProcessInfo.processInfo.hostName

    @Option(help: "What to log: debug, info, warning or error.")
    var logLevel = "info"

    @Flag(help: "End when the parent process ends.")
    var exitWithParent = false

    func validate() throws {
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
        guard Logger.Level(rawValue: logLevel) != nil else {
            throw ValidationError("--log-level \(logLevel) is not a level")
        }
    }

    func run() throws {
        ProcessMemory.keepFreedMemory()
        let level = Logger.Level(rawValue: logLevel) ?? .info
        let log = Logger(label: "shard-server") { StandardErrorLog(label: $0, level: level) }
        do {
            let service = try ShardService(
                coordinator: coordinator, bind: bind, advertise: advertise, name: name, threads: threads, log: log)
            let signals = ProcessSignals(followParent: exitWithParent) { service.stop($0) }
            let code = service.run()
            withExtendedLifetime(signals) {}
            if code != 0 { throw ExitCode(code) }
        } catch let code as ExitCode {
            throw code
        } catch {
            log.error("\(error)")
            throw ExitCode(70)
        }
    }
}
