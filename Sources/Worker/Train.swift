import ArgumentParser
import MemberSupport
import ProcessSupport

/// `worker train`.
struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Join a cluster and train.",
        discussion: """
            The coordinator says what to train; the data are read here. The worker of rank 0 also evaluates, and at the \
            end writes the backbone and the ROC picture into the run's output directory. Exit codes: 0 when the run is \
            finished or on SIGTERM, 1 if the run failed, 77 if the coordinator refused this worker, 78 if its data do not fit or \
            there is nothing to resume.
            """)

    @OptionGroup var member: MemberOptions

    @Option(
        help: "Path of the data on this machine, if it is not the configuration's (environment: PARTIALFC_DATA).",
        completion: .directory)
    var data: String?

    @Flag(help: "Go on with a run: end if it has neither a committed step nor a checkpoint.")
    var resume = false

    @Option(help: "Directory to record every step's tensors in, for debugging.", completion: .directory)
    var record: String?

    @Option(help: "Write the final figures to this file as well.", completion: .file())
    var summary: String?

    func validate() throws {
        if let problem = summary.flatMap(WritablePlace.problem(ofFile:)) {
            throw ValidationError("--summary cannot be written: \(problem)")
        }
        if let problem = record.flatMap(WritablePlace.problem(ofDirectoryToBe:)) {
            throw ValidationError("--record cannot be used: \(problem)")
        }
    }

    func run() throws {
        try member.run("worker", version: WorkerCommand.configuration.version) {
            try WorkerService(
                options: WorkerService.Options(
                    member: member, data: data ?? EnvironmentDefaults.text("PARTIALFC_DATA"), record: record,
                    summary: summary, resume: resume), log: $0)
        }
    }
}
