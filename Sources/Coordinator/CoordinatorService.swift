import Cluster
import Configuration
import CoordinatorStore
import Foundation
import Logging
import Model
import Monitoring
import NetworkAddress
import OperatorStatus
import ParameterStore
import ProcessSupport
import Setup
import StepProtocol
import Succession
import Wire

/// The shell around the coordinator's state machine: one thread that takes events, asks the machine, writes down what it
/// decides, and does what it says.
final class CoordinatorService: @unchecked Sendable {
    /// What the loop waits for.
    enum Event: Sendable {
        case server(ServerEvent)
        /// The manifest of a checkpoint is written, or why it is not.
        case checkpointWritten(number: Int, problem: String?)
        case stop(String)
    }

    typealias Machine = CoordinatorMachine

    /// The connection and request number of a message: what is sent to that connection answers it.
    typealias Question = (peer: PeerID, request: UInt64)

    /// Actions that cannot be done before a decision is written.
    struct Blocked {
        var actions: ArraySlice<Machine.Action>
        var question: Question?
        var retryAt: ContinuousClock.Instant
        var problem: String
        /// Events of this process that came meanwhile.
        var events: [Event] = []
    }

    var setup: RunSetup
    let log: Logger
    let mailbox = Mailbox<Event>()
    let server: ServerEndpoint
    let store: CoordinatorDatabase
    var cluster: CoordinatorDatabase.Cluster
    var policy: HandshakePolicy
    var machine: Machine
    var metrics: MetricsFile
    /// What members said of themselves in their hello, by connection, until they have a number.
    var hellos: [PeerID: Hello] = [:]
    var members: [MemberID: MemberNotes] = [:]
    var evaluations: [String: ClusterStatus.Evaluation] = [:]
    /// Events that are not in the database yet.
    var unwrittenEvents: [CoordinatorDatabase.Event] = []
    var blocked: Blocked?
    /// Why the machine did not take the operator's order in hand.
    var operatorRefusal: String?
    /// Why the last checkpoint could not be written.
    var checkpointProblem = ""
    /// Directories of checkpoints whose manifest is being written, by the number of the task.
    var beingWritten: [Int: String] = [:]
    /// The directory of the checkpoint that the shards are writing.
    var checkpointUnderWay: String?
    /// What HTTP shows; nil without HTTP.
    let monitor: ClusterMonitor?
    /// What TensorBoard shows, if it is wanted.
    let tensorBoard: TensorBoardFile?
    private var nextPublication = ContinuousClock.now
    var inHand: Question?
    /// For refused peers and messages.
    var refusals = LogThrottle()
    /// The classes of a term and class version.
    var knownRegistry: (key: [Int], registry: ClassRegistry)?
    /// What shards keep of the record.
    var copies = RecordCopies()
    /// The standby, if there is one, and what waits for it.
    var replication: StandbyReplication
    /// The standby's question that is to be answered.
    var poll: Poll?
    var saidSilent = false
    /// Why this coordinator does not decide any more.
    var ending: Ending?
    /// Messages that could not be encoded the last time, by name, and why.
    var unsendable: [String: String] = [:]
    /// How often each hello that was refused came: events tell of each once.
    var refusedHellos: [String: Int] = [:]
    /// Writes and removes checkpoints' files: the loop must not wait for them.
    let files = ComputeThread(name: "files")
    private let origin = ContinuousClock.now

    /// Where the coordinator listens.
    var endpoint: String { server.endpoint }
    var address: Endpoint { server.address }

    /// - Throws: `WireError` if the endpoint cannot be bound, `MetricsFileError` if the output directory cannot be written.
    init(
        setup: RunSetup, run: StoredRun, bind: String, security: ServerSecurity, monitor: ClusterMonitor?,
        tensorBoard: TensorBoardFile?, log: Logger
    ) throws {
        self.setup = setup
        self.monitor = monitor
        self.tensorBoard = tensorBoard
        self.log = log
        store = run.store
        cluster = run.cluster
        let configuration = setup.configuration
        machine = CoordinatorMachine(
            CoordinatorConfiguration(setup, origin: cluster.origin), record: run.record,
            incarnation: .random(in: 1 ... .max))
        policy = HandshakePolicy(
            clusterID: cluster.id, embeddingSize: configuration.backbone.embeddingSize,
            classCount: configuration.data.classes, configurationHash: configuration.fingerprint,
            instructionSet: configuration.cluster.sameInstructionSet ? cluster.instructionSet : nil)
        replication = StandbyReplication(
            run.record.view, identity: try store.pair().identity, session: .random(in: 1 ... .max),
            patience: .seconds(configuration.cluster.leaseSeconds), at: .zero)
        evaluations = Dictionary(try store.evaluations().map { ($0.name, .init($0)) }) { $1 }
        metrics = try MetricsFile(
            directory: configuration.output, isContinued: run.isContinued, origin: cluster.origin?.step ?? -1)
        server = try ServerEndpoint(bind: bind, security: security, events: mailbox.sink { .server($0) })
        if let warning = server.warning { log.warning("\(warning)") }
        monitor?.begin(events: events(last: ClusterMonitor.eventLimit)) { [machine, metrics] history in
            guard run.isContinued else { return }
            StoredHistory.read(metrics.path, committed: machine.committed, into: &history)
        }
    }

    /// Makes `run` return. From any thread.
    func stop(_ reason: String) { mailbox.post(.stop(reason)) }

    /// Serves until `stop`, or until another coordinator decides.
    func run() -> Ending {
        let configuration = setup.configuration
        log.info(
            "listening at \(endpoint): cluster \(cluster.id), \(configuration.data.classes) classes × \(configuration.backbone.embeddingSize), \(configuration.isEndless ? "steps" : "\(configuration.totalSteps) steps") of \(configuration.batch.size) samples"
        )
        log.info("exchange \(setup.exchangeReason)")
        for stage in setup.headSchedule.summaries { log.info("\(stage)") }
        perform(machine.start(at: now))
        sweepCheckpoints()
        while true {
            publish()
            let deadline =
                blocked?.retryAt ?? machine.nextDeadline.map { origin + $0 } ?? .now + .seconds(1)
            // Whoever asks whether this loop turns expects a turn a second.
            let turn = replication.view.standby == nil && poll == nil ? Duration.seconds(1) : .milliseconds(100)
            let event = mailbox.next(
                until: monitor == nil && turn == .seconds(1) ? deadline : min(deadline, .now + turn))
            if case .stop(let reason) = event {
                end(reason)
                return .stopped
            }
            if let blocked, blocked.retryAt <= .now { retry() }
            handle(event)
            tendStandby()
            if let ending {
                // What was said last is on its way.
                Thread.sleep(forTimeInterval: 0.2)
                end("another coordinator is to decide", isOver: false)
                return ending
            }
        }
    }

    /// Makes the state known to HTTP, a few times a second at most.
    private func publish() {
        guard let monitor else { return }
        monitor.health.turn(obstacle: blocked?.problem)
        guard nextPublication <= .now else { return }
        monitor.publish(ClusterMonitor.Snapshot(status: status, slices: slices, counters: server.counters))
        nextPublication = .now + .milliseconds(250)
    }

    private func handle(_ event: Event?) {
        switch event {
        case .server(.received(let peer, let request, let message)):
            inHand = (peer, request)
            defer { inHand = nil }
            if case .operatorRequest(let command) = message,
                command.command == OperatorCommandName.replicate.rawValue
            {
                hear(command, from: peer, request)
            } else if blocked == nil {
                receive(message, from: peer, request)
            } else {
                receiveWhileBlocked(message, peer, request)
            }
        case .server(.dropped(let peer)):
            if let rest = refusals.next() {
                log.warning("a peer does not read what it is sent\(rest)", metadata: ["peer": "\(peer)"])
            }
        case .server(.security(let event)): log.log(level: event.isWarning ? .warning : .info, "\(event)")
        case .server(.trouble(let trouble)): note(trouble.isWarning ? .warning : .info, "\(trouble)")
        case .checkpointWritten(let number, let problem):
            if blocked == nil {
                checkpointProblem = problem ?? ""
                perform(machine.handle(.checkpointWritten(number: number, problem: problem), at: now))
                if let directory = beingWritten.removeValue(forKey: number), problem != nil { giveUp(directory) }
                sweepCheckpoints()
            } else {
                event.map { blocked?.events.append($0) }
            }
        case .stop: break
        case nil: if blocked == nil { perform(machine.handle(.tick, at: now)) }
        }
    }

    /// - Parameter isOver: false if another coordinator goes on, perhaps with the same metrics.
    private func end(_ reason: String, isOver: Bool = true) {
        log.info("stopping: \(reason)")
        server.close()
        files.close()
        tensorBoard?.close()
        if isOver { endMetrics() }
    }

    var now: Duration { ContinuousClock.now - origin }

    // MARK: Messages

    private func receive(_ message: WireMessage, from peer: PeerID, _ request: UInt64) {
        switch message {
        case .hello(let hello): greet(hello, peer, request)
        case .heartbeat(let beat):
            let isMember = machine.isMember(beat.member, incarnation: beat.incarnation)
            if isMember {
                if let vote = beat.vote, beat.member.role == .shard {
                    replication.hear(vote, from: beat.member.number)
                }
                members[beat.member]?.statistics = beat.statistics
                noteTroubles(beat)
            }
            server.send(
                .heartbeatReply(
                    HeartbeatReply(
                        committed: machine.committed, mapVersion: machine.plan.mapVersion, state: stateInWords,
                        record: isMember ? newRecord(for: beat) : nil,
                        question: isMember && beat.member.role == .shard ? replication.question : nil)),
                to: peer, request: request)
            // Others say it when they join: nobody who is not let in begins a term.
            if isMember, beat.term > 0 {
                perform(
                    machine.handle(
                        .knows(term: beat.term, coordinator: beat.coordinator, from: beat.incarnation), at: now))
            }
            perform(
                machine.handle(
                    .heartbeat(
                        peer, beat.member, incarnation: beat.incarnation, report: beat.report, activity: beat.activity),
                    at: now))
        case .stepPrepared(let prepared):
            perform(
                machine.handle(
                    .prepared(peer, prepared.member, incarnation: prepared.incarnation, prepared.id), at: now))
        case .ready(let ready):
            perform(machine.handle(.ready(peer, ready.member, incarnation: ready.incarnation), at: now))
        case .stepDone(let done):
            perform(machine.handle(.stepDone(peer, done.member, incarnation: done.incarnation, done.result), at: now))
        case .stepFailed(let failed):
            perform(
                machine.handle(
                    .stepFailed(
                        peer, failed.member, incarnation: failed.incarnation, failed.id, code: failed.code,
                        message: failed.message, by: failed.refusedBy), at: now))
        case .taskDone(let done):
            server.send(.acknowledged, to: peer, request: request)
            if case .failed(let message) = done.outcome, case .task(let task) = machine.activity,
                task.number == done.number, case .checkpoint = task.kind
            {
                checkpointProblem = "\(done.member): \(message)"
            }
            perform(
                machine.handle(
                    .taskDone(peer, done.member, incarnation: done.incarnation, number: done.number, done.outcome),
                    at: now))
        case .leave(let leave):
            server.send(.acknowledged, to: peer, request: request)
            perform(
                machine.handle(
                    .left(
                        leave.member, incarnation: leave.incarnation, reason: leave.reason, exitCode: leave.exitCode),
                    at: now))
        case .evaluation(let evaluation): take(evaluation, peer, request)
        case .resultsDone(let done): take(done, peer)
        case .readClasses:
            deliver(.classes(classList), to: peer, request: request)
        case .operatorRequest(let command):
            let answer = answer(command)
            guard replication.mustWait, command.changes else { return reply(answer, to: peer, request) }
            replication.hold(.reply(answer, to: peer, request: request))
        default:
            server.refuse(
                peer, request: request,
                Refusal(
                    .unknownRequest, "a coordinator does not take \(message.name); send it to a shard or not at all"))
        }
    }

    /// While a decision waits to be written nothing may follow from it: members repeat what they say, operators may look.
    private func receiveWhileBlocked(_ message: WireMessage, _ peer: PeerID, _ request: UInt64) {
        switch message {
        case .hello(let hello) where hello.role == .operator: greet(hello, peer, request)
        case .operatorRequest(let command): reply(answerWhileBlocked(command), to: peer, request)
        // Members repeat it.
        default: break
        }
    }

    private func greet(_ hello: Hello, _ peer: PeerID, _ request: UInt64) {
        if case .failure(let refusal) = policy.check(hello) {
            noteRefusal("refused \(hello.role) \(hello.name) of \(hello.host): \(refusal.message)")
            server.refuse(peer, request: request, refusal)
            return
        }
        if hello.role == .operator {
            server.welcome(peer, request: request, Welcome(clusterID: cluster.id, member: MemberID(.operator, 0)))
            return
        }
        if hello.role == .shard, let problem = Endpoint.problem(of: "its endpoint", hello.endpoint, to: .connect) {
            noteRefusal("refused \(hello.role) \(hello.name.debugDescription): \(problem)")
            server.refuse(peer, request: request, Refusal(.malformed, problem))
            return
        }
        if askForVote(hello, peer, request) { return }
        if let refusal = lack(of: hello) {
            noteRefusal("refused \(hello.role) \(hello.name) of \(hello.host): \(refusal.message)")
            server.refuse(peer, request: request, refusal)
            return
        }
        // Not written: not decided. The hello comes again. What a job computes with is its own affair.
        if hello.job == nil {
            do {
                try decideCompute(by: hello)
                try decideKernels(by: hello)
            } catch {
                log.error("\(error)")
                return
            }
        }
        hellos = [peer: hello]
        if hello.term > 0 {
            perform(
                machine.handle(
                    .knows(term: hello.term, coordinator: hello.coordinator, from: hello.incarnation), at: now))
        }
        perform(
            machine.handle(
                .joined(
                    peer, role: hello.role, incarnation: hello.incarnation, endpoint: hello.endpoint,
                    previousNumber: hello.previousNumber >= 0 ? hello.previousNumber : nil, state: hello.state,
                    place: hello.place, replaces: hello.replaces == 0 ? nil : hello.replaces,
                    writesResults: hello.writesResults, job: hello.job, zone: hello.zone),
                at: now))
    }

    /// Sends a message. One that cannot be encoded would keep its receiver waiting without a word: the operator sees it.
    func deliver(_ message: WireMessage, to peer: PeerID, request: UInt64) {
        let result: SendResult
        if case .welcome(let welcome) = message {
            result = server.welcome(peer, request: request, welcome)
        } else {
            result = server.send(message, to: peer, request: request)
        }
        guard case .unencodable(let error) = result else {
            if unsendable[message.name] != nil { unsendable[message.name] = nil }
            return
        }
        let problem = "\(message.name) cannot be sent: \(error.message)"
        if unsendable.updateValue(problem, forKey: message.name) != problem { note(.error, problem) }
    }

    /// An operator who gets no answer would wait for it.
    func reply(_ reply: OperatorReply, to peer: PeerID, _ request: UInt64) {
        if case .unencodable(let error) = server.send(.operatorReply(reply), to: peer, request: request) {
            server.refuse(peer, request: request, Refusal(.tooLarge, error.message))
        }
    }

    /// A full disk must not stop the training: what cannot be written is reported.
    func write(_ body: () throws -> Void) {
        do { try body() } catch { log.error("\(error)") }
    }
}
