import Backbone
import ClusterStatus
import Foundation
import Logging
import ProcessSupport
import RunConfiguration
import RunSetup
import StepProtocol
import Wire

/// The shell around the coordinator's state machine: one thread that takes events, asks the machine, and does what it says.
final class CoordinatorService: @unchecked Sendable {
    /// What the loop waits for.
    enum Event: Sendable {
        case server(ServerEvent)
        case stop(String)
    }

    let setup: RunSetup
    private let log: Logger
    private let mailbox = Mailbox<Event>()
    private let server: ServerEndpoint
    private let clusterID: String
    private var policy: HandshakePolicy
    private var machine: CoordinatorMachine<PeerID>
    private let origin = ContinuousClock.now
    private let metrics: MetricsFile
    /// What members said of themselves in their hello, by connection, until they have a number.
    private var hellos: [PeerID: Hello] = [:]
    private var members: [MemberID: MemberNotes] = [:]
    private var evaluations: [String: ClusterStatus.Evaluation] = [:]
    /// How many evaluation sets the status shows: it must fit into a message.
    private static let evaluationLimit = 64
    /// The connection and request number of the message in hand: what is sent to that connection answers it.
    private var inHand: (peer: PeerID, request: UInt64)?

    /// Where the coordinator listens.
    var endpoint: String { server.endpoint }

    /// - Throws: `WireError` if the endpoint cannot be bound, `MetricsFileError` if the output directory cannot be written.
    init(setup: RunSetup, bind: String, log: Logger) throws {
        self.setup = setup
        self.log = log
        let configuration = setup.configuration
        let schedule = setup.schedule
        machine = CoordinatorMachine(
            CoordinatorConfiguration(
                batchSize: configuration.batch.size, microBatchCount: configuration.microBatchCount,
                sliceCount: configuration.head.slices, denseSliceCount: configuration.backbone.denseSlices,
                expectedShards: configuration.cluster.shards, minimumWorkers: configuration.cluster.workers,
                totalSteps: configuration.totalSteps, exchange: setup.exchange,
                lease: .seconds(configuration.cluster.leaseSeconds), learningRate: { Float(schedule.rate(at: $0)) }))
        clusterID = String(UInt64.random(in: .min ... .max), radix: 16)
        policy = HandshakePolicy(
            clusterID: clusterID, embeddingSize: configuration.backbone.embeddingSize,
            classCount: configuration.data.classes, configurationHash: configuration.fingerprint)
        metrics = try MetricsFile(directory: configuration.output)
        server = try ServerEndpoint(bind: bind, events: mailbox.sink { .server($0) })
    }

    /// Makes `run` return. From any thread.
    func stop(_ reason: String) { mailbox.post(.stop(reason)) }

    /// Serves until `stop`.
    func run() {
        let configuration = setup.configuration
        log.info(
            "listening at \(endpoint): cluster \(clusterID), \(configuration.data.classes) classes × \(configuration.backbone.embeddingSize), \(configuration.totalSteps) steps of \(configuration.batch.size) samples"
        )
        log.info("exchange \(setup.exchangeReason)")
        while true {
            let deadline = machine.nextDeadline.map { origin + $0 } ?? .now + .seconds(1)
            switch mailbox.next(until: deadline) {
            case .server(.received(let peer, let request, let message)): receive(message, from: peer, request)
            case .server(.dropped(let peer)):
                log.warning("a peer does not read what it is sent", metadata: ["peer": "\(peer)"])
            case .stop(let reason):
                log.info("stopping: \(reason)")
                server.close()
                return
            case nil: perform(machine.handle(.tick, at: now))
            }
        }
    }

    private var now: Duration { ContinuousClock.now - origin }

    // MARK: Messages

    private func receive(_ message: WireMessage, from peer: PeerID, _ request: UInt64) {
        inHand = (peer, request)
        defer { inHand = nil }
        switch message {
        case .hello(let hello): greet(hello, peer, request)
        case .heartbeat(let beat):
            if machine.isMember(beat.member, incarnation: beat.incarnation) {
                members[beat.member]?.statistics = beat.statistics
            }
            let step = beat.statistics["committed"].flatMap { Int(exactly: $0) }
            server.send(
                .heartbeatReply(
                    HeartbeatReply(committed: machine.committed, mapVersion: machine.plan.mapVersion, state: stateName)),
                to: peer, request: request)
            perform(
                machine.handle(.heartbeat(peer, beat.member, incarnation: beat.incarnation, stateStep: step), at: now))
        case .ready(let ready):
            perform(machine.handle(.ready(peer, ready.member, incarnation: ready.incarnation), at: now))
        case .stepDone(let done):
            perform(machine.handle(.stepDone(peer, done.member, incarnation: done.incarnation, done.result), at: now))
        case .stepFailed(let failed):
            perform(
                machine.handle(
                    .stepFailed(
                        peer, failed.member, incarnation: failed.incarnation, failed.id, code: failed.code,
                        message: failed.message), at: now))
        case .leave(let leave):
            log.info("\(leave.member) leaves: \(leave.reason)")
            server.send(.acknowledged, to: peer, request: request)
            perform(machine.handle(.left(leave.member, incarnation: leave.incarnation), at: now))
        case .evaluation(let evaluation):
            guard evaluations[evaluation.name] != nil || evaluations.count < Self.evaluationLimit else {
                let message = "\(Self.evaluationLimit) evaluation sets are kept, \"\(evaluation.name)\" is one more"
                server.refuse(peer, request: request, Refusal(.tooLarge, message))
                return
            }
            record(evaluation)
            server.send(.acknowledged, to: peer, request: request)
        case .operatorRequest(let command):
            // An operator who gets no answer would wait for it.
            if case .unencodable(let error) = server.send(.operatorReply(answer(command)), to: peer, request: request) {
                server.refuse(peer, request: request, Refusal(.tooLarge, error.message))
            }
        default:
            server.refuse(
                peer, request: request,
                Refusal(
                    .unknownRequest, "a coordinator does not take \(message.name); send it to a shard or not at all"))
        }
    }

    private func greet(_ hello: Hello, _ peer: PeerID, _ request: UInt64) {
        if case .failure(let refusal) = policy.check(hello) {
            log.warning("refused \(hello.role) \(hello.name) of \(hello.host): \(refusal.message)")
            server.refuse(peer, request: request, refusal)
            return
        }
        if hello.role == .operator {
            server.welcome(peer, request: request, Welcome(clusterID: clusterID, member: MemberID(.operator, 0)))
            return
        }
        // Rounding depends on the kernels: the first member decides which ones this run computes with.
        if setup.configuration.cluster.sameInstructionSet && policy.instructionSet == nil {
            policy.instructionSet = hello.instructionSet
            log.info("instruction set \(hello.instructionSet)")
        }
        hellos[peer] = hello
        perform(
            machine.handle(
                .joined(
                    peer, role: hello.role, incarnation: hello.incarnation, endpoint: hello.endpoint,
                    previousNumber: hello.previousNumber >= 0 ? hello.previousNumber : nil, stateStep: hello.stateStep),
                at: now))
        hellos[peer] = nil
    }

    private func record(_ evaluation: Evaluation) {
        let figures = evaluation.values.sorted { $0.key < $1.key }.map { "\($0.key) \(Units.fixed($0.value, 4))" }
        log.info("step \(evaluation.step): \(evaluation.name): \(figures.joined(separator: ", "))")
        evaluations[evaluation.name] = ClusterStatus.Evaluation(
            name: evaluation.name, step: evaluation.step, values: evaluation.values)
        write { try metrics.append(evaluation) }
    }

    // MARK: Actions

    private func perform(_ actions: [CoordinatorMachine<PeerID>.Action]) {
        for action in actions {
            switch action {
            case .welcome(let peer, let member): welcome(member, peer)
            case .refuse(let peer, let code, let message):
                log.warning("refused a message: \(message)")
                server.refuse(peer, request: answered(peer), Refusal(code, message))
            case .send(_, let peer, let plan): server.send(.plan(plan), to: peer, request: answered(peer))
            case .committed(let report): write { try metrics.append(report) }
            case .event(let level, let text): log.log(level: level.logLevel, "\(text)")
            case .finished: log.info("finished: every shard that is alive has committed step \(machine.committed)")
            case .failed(let reason): log.error("the run failed: \(reason)")
            }
        }
    }

    private func welcome(_ member: MemberID, _ peer: PeerID) {
        let configuration = setup.configuration
        let lease = configuration.cluster.leaseSeconds
        var welcome = Welcome(clusterID: clusterID, member: member)
        welcome.configuration = configuration.canonicalText
        welcome.configurationHash = configuration.fingerprint
        welcome.leaseMilliseconds = Int(lease * 1000)
        welcome.heartbeatMilliseconds = max(50, min(1000, Int(lease * 200)))
        if let hello = hellos[peer] { members[member] = MemberNotes(hello) }
        server.welcome(peer, request: answered(peer), welcome)
    }

    private func answered(_ peer: PeerID) -> UInt64 { inHand?.peer == peer ? inHand?.request ?? 0 : 0 }

    /// A full disk must not stop the training: what cannot be written is reported.
    private func write(_ body: () throws -> Void) {
        do { try body() } catch { log.error("\(error)") }
    }

    // MARK: Operators

    private func answer(_ command: OperatorRequest) -> OperatorReply {
        func json(_ value: some Encodable) -> OperatorReply {
            guard let data = try? StatusJSON.encode(value) else {
                return OperatorReply(exitCode: 70, json: #"{"error":"the answer cannot be encoded"}"#)
            }
            return OperatorReply(exitCode: 0, json: String(decoding: data, as: UTF8.self))
        }
        switch command.command {
        case "status": return json(status)
        case "slices": return json(slices)
        case "pause":
            perform(machine.handle(.pause, at: now))
            return json(status)
        case "resume":
            perform(machine.handle(.resume, at: now))
            return json(status)
        case "stop":
            perform(machine.handle(.stop, at: now))
            return json(status)
        default:
            return OperatorReply(
                exitCode: 64,
                json: #"{"error":"unknown command; this coordinator knows status, slices, pause, resume, stop"}"#)
        }
    }

    private var stateName: String { machine.status(at: now).stateName }

    private var slices: [SliceStatus] {
        machine.plan.shards.flatMap { shard in
            shard.slices.map { slice in
                let classes = setup.classes(ofSlices: slice..<slice + 1)
                return SliceStatus(
                    slice: slice, classes: [classes.lowerBound, classes.upperBound], owner: "\(shard.shard)")
            }
        }
    }

    private var status: ClusterStatus {
        var status = ClusterStatus(
            machine.status(at: now), setup: setup, clusterID: clusterID, notes: members)
        status.evaluations = evaluations.values.sorted { $0.name < $1.name }
        status.refused = Dictionary(
            uniqueKeysWithValues: server.counters.rejected.map { ("\($0.key)", $0.value) })
        return status
    }
}

extension EventLevel {
    var logLevel: Logger.Level {
        switch self {
        case .info: .info
        case .warning: .warning
        case .error: .error
        }
    }
}
