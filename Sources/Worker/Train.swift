import ArgumentParser
import Foundation
import Logging
import ProcessSupport

/// `worker train`.
struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Join a cluster and train.",
        discussion: """
            The coordinator says what to train; the data are read here. The worker of rank 0 also evaluates, and at the \
            end writes the backbone and the ROC picture into the run's output directory. Exit codes: 0 when the run is \
            finished or on SIGTERM, 1 if the run failed, 77 if the coordinator refused this worker.
            """)

    @Option(help: "The coordinator's endpoint (environment: PARTIALFC_COORDINATOR).")
    var coordinator = ProcessInfo.processInfo.environment["PARTIALFC_COORDINATOR"] ?? "tcp://127.0.0.1:7400"

    @Option(help: "Threads that compute. One more decodes images.")
    var threads = 1

    @Option(help: "Path of the data on this machine, if it is not the configuration's.", completion: .directory)
    var data: String?

    @Option(help: "Directory to record every step's tensors in, for debugging.", completion: .directory)
    var record: String?

    @Option(help: "Write the final figures to this file as well.", completion: .file())
    var summary: String?

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
        let log = Logger(label: "worker") { StandardErrorLog(label: $0, level: level) }
        do {
            let service = try WorkerService(
                options: WorkerService.Options(
                    coordinator: coordinator, threads: threads, data: data, record: record, summary: summary, name: name
                ),
                log: log)
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
