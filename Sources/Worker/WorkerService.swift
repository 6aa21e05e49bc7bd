import Cluster
import Configuration
import Dataset
import Foundation
import Logging
import MemberSupport
import Model
import Monitoring
import ParameterStore
import PartialFC
import ProcessSupport
import RunData
import Setup
import StepProtocol
import Tensors
import Training
import Verification
import Wire

/// The shell around the worker's session: one thread takes events, asks the session and carries out what it says, another computes, a
/// third evaluates.
final class WorkerService: MemberService, @unchecked Sendable {
    typealias Session = WorkerSession<[Tensor]>
    typealias Machine = Session.Machine

    /// What the command line says.
    struct Options {
        var member: MemberOptions
        var data: String?
        var record: String?
        var summary: String?
        /// Refuse to begin a run from nothing.
        var resume: Bool
    }

    /// What the loop waits for.
    enum Event: Sendable {
        case coordinator(ClientEvent)
        case shard(MemberID, ClientEvent)
        case computed(StepID, WorkerResult<[Tensor]>)
        case failed(StepID, WorkerTask, Refusal)
        /// The parameters after a step, to evaluate.
        case installed(committed: Int, Tensor)
        case evaluated(step: Int, Result<[VerificationReport], Refusal>)
        /// The parameters that the results are made of; nil if there are none.
        case due(StepID, committed: Int, Tensor?)
        /// The results are written: lines about them, and figures by evaluation set.
        case written(StepID, Result<Results, Refusal>)
        case stop(String)
    }

    let options: Options
    let log: Logger
    let mailbox = Mailbox<Event>()
    let io: IOThread
    let coordinator: ClientConnection
    let security: ClusterSecurity
    let compute = ComputeThread(name: "compute")
    let evaluation = ComputeThread(name: "evaluation")
    let origin = ContinuousClock.now
    let health = ProcessHealth()
    let figures = WorkerFigures()
    var hello: Hello

    /// What this worker decides.
    var session: Session
    var machine: Machine? { session.machine }
    /// The last welcome of the coordinator.
    var welcome: Welcome?
    var setup: RunSetup?
    var model: Shared<WorkerModel>?
    var evaluator: Evaluator?
    var evaluationIsRunning = false
    var shards: [MemberID: ClientConnection] = [:]
    /// Requests that wait for the handshake with a shard: the newest of each phase.
    var unsent: [MemberID: [StepPhase: StepRequest<[Tensor]>]] = [:]
    /// What is known of the connections to the shards.
    var links: [MemberID: Link] = [:]
    var probe = ShardProbe()
    /// What this process leaves for the one that takes its place; nil if it has no place to leave it.
    let trace: WorkerTrace?
    var progress = ProgressLine(totalSteps: 0, batchSize: 0)
    var rank: Int?
    /// The operations on the classes that the coordinator told last.
    var classList: ClassList?
    /// Samples and identities that were left out when the data were opened.
    var leftOut = (samples: 0, identities: 0)
    /// Evaluations that the coordinator has not acknowledged, by request, and when they are sent again.
    var unacknowledged: [UInt64: (evaluation: Evaluation, sendAgain: ContinuousClock.Instant)] = [:]
    /// What came of the results that this worker was asked for.
    var results: (id: StepID, outcome: Result<Results, Refusal>)?
    /// How many of the replaced images were reported.
    var reportedProblems = 0
    var nextHeartbeat = ContinuousClock.now
    /// Whether a plan has come since this process was started.
    var hasPlan = false
    var exitCode: Int32 = 0

    /// Lets the compute thread use what only it touches.
    final class Shared<Value>: @unchecked Sendable {
        let value: Value
        init(_ value: Value) { self.value = value }
    }

    /// - Throws: `WireError` if the coordinator's endpoint is not one, `KeyError` if its keys cannot be used.
    init(options: Options, log: Logger) throws {
        self.options = options
        self.log = log
        security = try options.member.security(as: .worker)
        io = try IOThread()
        session = Session(mustResume: options.resume, empty: [])
        hello = .thisProcess(
            role: .worker, name: options.member.name, threads: options.member.threads,

            kernels:
                "\(MatrixKernels.description), onednn \(InstructionSet.effective), \(KernelChoice.head) \(MatrixKernels.ofHead)"
        )
        trace = WorkerTrace(
            cluster: "\(options.member.coordinator) \(options.member.name)", incarnation: hello.incarnation)
        hello.replaces = trace?.predecessor ?? 0
        hello.writesResults = true
        coordinator = try ClientConnection(
            connect: options.member.coordinator, hello: hello, security: security.coordinator, thread: io,
            events: mailbox.sink { .coordinator($0) })
        log.info("joining \(options.member.coordinator)")
    }

    /// Makes `run` return. From any thread.
    func stop(_ reason: String) { mailbox.post(.stop(reason)) }

    /// Trains until the run ends, `stop`, or the coordinator refuses this worker.
    ///
    /// - Returns: the exit code.
    func run() -> Int32 {
        defer {
            compute.close()
            evaluation.close()
            for connection in shards.values { connection.close() }
            coordinator.close()
            io.close()
        }
        while true {
            makeKnown()
            let due = session.nextDeadline.map { origin + $0 } ?? nextHeartbeat
            let event = mailbox.next(until: min(due, nextHeartbeat))
            if ContinuousClock.now >= nextHeartbeat { beat() }
            if ContinuousClock.now >= due {
                noteTraffic()
                drive(.tick)
            }
            guard let event else { continue }
            if !handle(event) { return exitCode }
        }
    }

    var incarnation: UInt64 { hello.incarnation }
    var now: Duration { ContinuousClock.now - origin }

    /// Returns false when the service ends.
    func handle(_ event: Event) -> Bool {
        switch event {
        case .coordinator(.welcomed(let welcome)):
            self.welcome = welcome
            return tell(.welcomed(Session.Welcome(welcome)))
        case .coordinator(.refused(let refusal)):
            log.error("the coordinator refused this worker: \(refusal.message)")
            return tell(.turnedAway)
        case .coordinator(.unanswered(let endpoint)):
            log.warning("no answer from the coordinator at \(endpoint); trying on")
        case .coordinator(.silent(let endpoint)):
            log.warning("the coordinator at \(endpoint) is silent: trying the next one")
        case .coordinator(.standingBy(let endpoint, let standing)):
            log.debug("\(endpoint) does not coordinate: \(standing.message)")
        case .coordinator(.handshakeFailed(let failure)): log.error("\(failure.message); trying on")
        case .coordinator(.received(let request, let message)):
            noteAnswer(message, to: request)
            return receive(message)
        case .coordinator(.arriving): break
        case .shard(let shard, .arriving(let reply)): arrived(reply, from: shard)
        case .shard(let shard, .received(_, .stepReply(let reply))):
            if let whole = ArrivingReply(reply) { arrived(whole, from: shard) }
            drive(.reply(shard, reply))
        case .shard(let shard, .received(_, .refused(let refusal))):
            log.warning("\(shard) refused a message: \(refusal.message)")
        case .shard(let shard, .refused(let refusal)):
            log.error("\(shard) refused this worker: \(refusal.message)")
        case .shard(let shard, .handshakeFailed(let failure)): log.error("\(shard): \(failure.message); trying on")
        case .shard(_, .silent), .shard(_, .standingBy): break
        case .shard(let shard, .unanswered(let endpoint)):
            log.warning("no answer from \(shard) at \(endpoint); trying on")
        case .shard(let shard, .welcomed(let welcome)):
            links[shard, default: Link()].answersQueries = welcome.answersQueries
            probe.answered(shard)
            flush(shard)
        case .shard: break
        case .computed(let id, let result):
            if case .softmax(_, let lossSums) = result { note(id, lossSums) }
            drive(.computed(id, result))
        case .failed(let id, let task, let refusal):
            log.error("\(id), \(task): \(refusal.message)")
            drive(.failed(id, task, code: refusal.code, message: refusal.message))
        case .installed(let step, let parameters): installed(step, parameters)
        case .evaluated(let step, let result): report(step, result)
        case .due(let id, let committed, let parameters): writeResults(id, committed, parameters)
        case .written(let id, let outcome): noteResults(id, outcome)
        case .stop(let reason):
            progress.interrupt()
            log.info("stopping: \(reason)")
            return tell(.stop(reason: reason))
        }
        return true
    }

    // MARK: The coordinator

    /// Opens the data and builds the network.
    func prepare(_ welcome: Welcome) throws {
        health.hold("its data are being opened")
        var configuration = try RunConfiguration(stored: welcome.configuration)
        if let data = options.data, !configuration.isExternal { configuration.data.path = data }
        let setup = try RunSetup(configuration)
        let data = try TrainingData(configuration)
        if data.labelCount > setup.head.classCount {
            log.warning(
                "the data have \(data.labelCount) classes, the run begins with \(setup.head.classCount): samples of the others wait until these are added"
            )
        }
        for line in data.opening.lines { log.warning("\(line)") }
        for finding in data.findings(configured: 0) { log.warning("\(finding)") }
        leftOut = (data.opening.leftOutSamples, data.opening.leftOutIdentities)
        model = Shared(
            try WorkerModel(setup: setup, data: data, threads: options.member.threads, record: options.record))
        if !setup.backbone.isIdentity {
            let evaluator = try Evaluator(setup: setup, data: data, threads: options.member.threads)
            if !evaluator.sets.isEmpty { self.evaluator = evaluator }
        }
        progress = ProgressLine(totalSteps: configuration.totalSteps, batchSize: configuration.batch.size)
        self.setup = setup
    }

    /// Returns false when the service ends.
    func receive(_ message: WireMessage) -> Bool {
        switch message {
        case .plan(let plan): return tell(.plan(plan, misfit: setup?.misfit(of: plan)))
        case .classes(let list):
            classList = list
            return tell(.classes(version: list.version))
        case .refused(let refusal):
            log.warning("the coordinator refused a message: \(refusal.message)")
            return tell(.refused(refusal.code))
        default: return true
        }
    }

    func beat() {
        nextHeartbeat = .now + (welcome?.heartbeatInterval ?? .seconds(1))
        guard let welcome, coordinator.isWelcomed else { return }
        let replaced = model?.value.replaced ?? .init()
        let leftOutIdentities = leftOut.identities + replaced.identities
        figures.update {
            $0.replacedImages = replaced.images
            $0.leftOutSamples = leftOut.samples
            $0.leftOutIdentities = leftOutIdentities
        }
        for problem in replaced.problems.dropFirst(reportedProblems) { log.warning("replaced an image: \(problem)") }
        reportedProblems = replaced.problems.count
        let statistics = [
            "resident_bytes": Double(ProcessMemory.residentBytes),
            "peak_resident_bytes": Double(ProcessMemory.peakResidentBytes),
            "replaced_images": Double(replaced.images), "left_out_samples": Double(leftOut.samples),
            "left_out_identities": Double(leftOutIdentities),
        ]
        noteTraffic()
        let activity = machine?.activity(unreached: unreachedShards())
        coordinator.send(
            .heartbeat(
                Heartbeat(
                    member: welcome.member, incarnation: incarnation, statistics: statistics, activity: activity,
                    term: hello.term, coordinator: hello.coordinator)))
        repeatEvaluations()
    }
}
