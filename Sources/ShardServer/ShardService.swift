import Cluster
import Configuration
import Foundation
import Logging
import MemberSupport
import Model
import Monitoring
import NetworkAddress
import ParameterStore
import PartialFC
import ProcessSupport
import Setup
import ShardModel
import StepProtocol
import Tensors
import Wire

/// The shell around the shard's state machines: one thread takes events, another computes.
final class ShardService: MemberService, @unchecked Sendable {
    typealias Machine = ShardMachine<StepPeer, [Tensor]>
    typealias Receiver = SliceReceiver<[Tensor]>

    /// The connection and number of a request.
    struct StepPeer: Hashable, Sendable {
        var peer: PeerID
        var request: UInt64
    }

    /// What the loop waits for.
    enum Event: Sendable {
        case coordinator(ClientEvent)
        case server(ServerEvent)
        /// The connection to another shard.
        case shard(MemberID, ClientEvent)
        /// The state is made, or could not be.
        case ready(Result<Ready, Refusal>)
        case computed(StepID, ShardResult<[Tensor]>)
        case failed(StepID, ShardTask, Refusal, blaming: [Int])
        case taskDone(number: Int, TaskOutcome)
        case received(Receiver.Event)
        /// Something that was computed for a peer outside the step protocol.
        case answer(StepPeer, Result<WireMessage, Refusal>)
        /// The classes of this version are known to the model.
        case classesKnown(version: Int)
        /// Why the disk keeps the shard waiting, or empty.
        case obstacle(String)
        /// The directory is left empty, or why not.
        case tidied(problem: String)
        /// The state cannot be trusted.
        case broken(String)
        case stop(String)
    }

    /// What the loop learns of a new model.
    struct Ready: Sendable {
        var committed: Int
        var prepared: StepID?
        var lastTask: Int
        var handedOver: Set<SliceName>
    }

    let log: Logger
    let threads: Int
    let storage: StorageOptions
    let store: ShardStore?
    /// Directories of the pool that could not be used.
    let passedOver: [ShardStore.PassedOver]
    let mailbox = Mailbox<Event>()
    let io: IOThread
    let server: ServerEndpoint
    let coordinator: ClientConnection
    let security: ClusterSecurity
    let compute = ComputeThread(name: "compute")
    let gate = DiskGate()
    let figures = ShardFigures()
    let health = ProcessHealth()
    let origin = ContinuousClock.now
    var hello: Hello

    var welcome: Welcome?
    var setup: RunSetup?
    var policy: HandshakePolicy?
    var ready: Ready?
    var machine: Machine?
    var receiver: Receiver?
    /// The model; touched on the compute thread only, but for being made known here.
    let model = ModelBox()
    /// The newest plan that waits for the model, or for the classes.
    var waitingPlan: Plan?
    /// The version of the classes that was asked for.
    var askedClasses: Int?
    var obstacle = ""
    /// For refused peers.
    var refusals = LogThrottle()
    /// Connections to the owners of slices on their way here, requests under way, and those that wait for the handshake.
    var shards: [MemberID: ClientConnection] = [:]
    var asked: [MemberID: [UInt64: TransferRequest]] = [:]
    var unsent: [MemberID: [TransferRequest]] = [:]
    /// Fragments that have come from the owners of slices.
    var arrived: [MemberID: Int] = [:]
    /// Who is at the other end of a connection, as its hello said, and what has moved over it so far.
    var senders: [PeerID: StepSender] = [:]
    var traffic: [PeerID: (fragments: Int, waiting: Int)] = [:]
    /// Large answers that were queued, so that a repetition does not queue them again.
    var queued = QueuedAnswers()
    /// The committed step of the last heartbeat.
    var reportedStep = -1
    var nextHeartbeat = ContinuousClock.now
    /// Set by SIGTERM: until when the coordinator may say that the slices are handed over first.
    var drainDeadline: ContinuousClock.Instant?
    /// The process before this one was ended while it handed its slices over, which the coordinator is to forget.
    var isToStay = false
    /// The coordinator has said that others own everything that this shard owned.
    var isHandedOver = false
    var exitCode: Int32 = 0

    /// Holds the model for the compute thread.
    final class ModelBox: @unchecked Sendable { var model: ShardEngine? }

    /// - Throws: `CenterStoreError` if the directory cannot be used, `WireError` if the endpoint cannot be bound.
    init(options: MemberOptions, storage: StorageOptions, bind: String, advertise: AdvertisedAddress?, log: Logger)
        throws
    {
        self.log = log
        self.storage = storage
        threads = options.threads
        security = try options.security(as: .shard)
        (store, passedOver) = try storage.open()
        for directory in passedOver { log.error("\(directory)") }
        io = try IOThread()
        server = try ServerEndpoint(
            bind: bind, security: security.server, thread: io, events: mailbox.sink { .server($0) })
        if let warning = server.warning { log.warning("\(warning)") }
        hello = .thisProcess(
            role: .shard, name: options.name, threads: options.threads, kernels: MatrixKernels.description)
        let name = try advertise ?? (server.isEverywhere ? AdvertisedAddress(ProcessInfo.processInfo.hostName) : nil)
        hello.endpoint = if let name { server.advertised(as: name) } else { server.endpoint }
        hello.state = store?.state ?? ShardState(newest: -1, oldest: 0, logsSteps: false, hasSlices: false)
        if let state = hello.state { figures.update(state) }
        if let identity = store?.identity {
            hello.clusterID = identity.clusterID
            hello.previousNumber = identity.member
            hello.configurationHash = identity.configurationHash
        }
        coordinator = try ClientConnection(
            connect: options.coordinator, hello: hello, security: security.coordinator, thread: io,
            events: mailbox.sink { .coordinator($0) })
        gate.onChange = { [mailbox] in mailbox.post(.obstacle($0)) }
        isToStay = store?.isGoing ?? false
        log.info("listening at \(hello.endpoint), joining \(options.coordinator)")
        if let store { log.info("keeping its state in \(store.directory)") }
        if let tail = store?.tornTail { log.warning("\(tail)") }
    }

    /// Makes `run` return. From any thread.
    func stop(_ reason: String) { mailbox.post(.stop(reason)) }

    /// Serves until `stop` or until the coordinator refuses this shard.
    ///
    /// - Returns: the exit code.
    func run() -> Int32 {
        defer {
            gate.close()
            compute.close()
            for connection in shards.values { connection.close() }
            coordinator.close()
            server.close()
            io.close()
        }
        while true {
            var due = nextHeartbeat
            if let deadline = receiver?.nextDeadline { due = min(due, origin + deadline) }
            if let drainDeadline { due = min(due, drainDeadline) }
            makeKnown()
            let event = mailbox.next(until: due)
            if ContinuousClock.now >= nextHeartbeat { beat() }
            if let deadline = receiver?.nextDeadline, deadline <= now {
                noteArrivals()
                receive(.tick)
            }
            if let drainDeadline, ContinuousClock.now >= drainDeadline {
                leave("the coordinator does not answer")
                return 0
            }
            guard let event else { continue }
            if !handle(event) { return exitCode }
        }
    }

    var incarnation: UInt64 { hello.incarnation }
    var now: Duration { ContinuousClock.now - origin }

    func end(_ code: Int32) -> Bool {
        exitCode = code
        return false
    }

    /// Returns false when the service ends.
    func handle(_ event: Event) -> Bool {
        if isHandedOver { return !isLast(event) }
        switch event {
        case .coordinator(.welcomed(let welcome)): return join(welcome)
        case .coordinator(.refused(let refusal)):
            if refusal.code == .drained { return handedOver() }
            if refusal.code == .stateLost, joinAnew() { return true }
            log.error("the coordinator refused this shard: \(refusal.message)")
            return end(77)
        case .coordinator(.unanswered(let endpoint)):
            log.warning("no answer from the coordinator at \(endpoint); trying on")
        case .coordinator(.handshakeFailed(let failure)): log.error("\(failure.message); trying on")
        case .coordinator(.received(_, let message)): return receive(message)
        case .coordinator(.arriving): break
        case .server(.received(let peer, let request, let message)):
            serve(message, StepPeer(peer: peer, request: request))
        case .server(.dropped(let peer)):
            if let rest = refusals.next() {
                log.warning("a peer does not read what it is sent\(rest)", metadata: ["peer": "\(peer)"])
            }
        case .server(.security(let event)): log.log(level: event.isWarning ? .warning : .info, "\(event)")
        case .server(.trouble(let trouble)): log.log(level: trouble.isWarning ? .warning : .info, "\(trouble)")
        case .shard(let shard, let event): hear(shard, event)
        case .ready(.success(let ready)): begin(ready)
        case .ready(.failure(let refusal)):
            return fail("the state cannot be made: \(refusal.message)", 70)
        case .computed(let id, let result):
            updateHello()
            drive(.computed(id, result))
        case .failed(let id, let task, let refusal, let ranks):
            log.error("\(id): \(refusal.message)")
            drive(.failed(id, task, code: refusal.code, message: refusal.message, blaming: ranks))
        case .taskDone(let number, let outcome):
            updateHello()
            if case .failed(let message) = outcome { log.error("task \(number): \(message)") }
            drive(.taskDone(number: number, outcome))
        case .received(let event):
            if case .failed(let slice, let message) = event {
                log.warning("the copy of \(slice) begins anew: \(message)")
            }
            receive(event)
        case .answer(let peer, .success(let message)): server.send(message, to: peer.peer, request: peer.request)
        case .answer(let peer, .failure(let refusal)): server.refuse(peer.peer, request: peer.request, refusal)
        case .classesKnown: resumePlan()
        case .obstacle(let text):
            obstacle = text
            if text.isEmpty { log.info("going on") } else { log.error("\(text); the step waits") }
            beat()
        case .broken(let reason):
            return fail(reason, 70)
        case .tidied: break
        case .stop(let reason): return drain(reason)
        }
        return true
    }

    func beat() {
        let interval = Duration.milliseconds(welcome?.heartbeatMilliseconds ?? 1000)
        nextHeartbeat = .now + interval
        updateHello()
        guard let welcome, coordinator.isWelcomed else { return }
        let values = figures.values
        reportedStep = machine?.committed ?? -1
        var statistics: [String: Double] = [
            "memory_bytes": Double(values.memoryBytes), "log_bytes": Double(values.logBytes),
            "snapshot_step": Double(values.snapshotStep),
            "resident_bytes": Double(ProcessMemory.residentBytes),
            "peak_resident_bytes": Double(ProcessMemory.peakResidentBytes),
            "refused": Double(server.counters.refusedTotal),
        ]
        if let tail = store?.tornTail { statistics["torn_bytes"] = Double(tail.byteCount) }
        if values.restoring.loadSeconds > 0 {
            statistics["load_seconds"] = values.restoring.loadSeconds
            statistics["replay_seconds"] = values.restoring.replaySeconds
            statistics["replayed_steps"] = Double(values.restoring.replayedSteps)
        }
        noteTraffic()
        // Before the state is made there is nothing to report: the coordinator knows what the hello said.
        let report = machine.map {
            ShardReport(
                committed: $0.committed, durable: min(values.durable, $0.committed),
                received: receiver?.received ?? [:], obstacle: obstacle, problem: problem(values),
                incidents: values.incidents, lastIncident: values.lastIncident,
                past: values.state.holdings?.past ?? 0, prepared: $0.prepared ?? .nothing,
                waiting: $0.waiting(at: now))
        }
        coordinator.send(
            .heartbeat(
                Heartbeat(
                    member: welcome.member, incarnation: incarnation, statistics: statistics, report: report,
                    term: hello.term, coordinator: hello.coordinator)))
        let (box, figures, mailbox) = (model, figures, mailbox)
        compute.submit {
            guard let model = box.model else { return }
            model.tend()
            figures.update(model)
            if model.isLogLost { mailbox.post(.broken(model.diskProblem)) }
        }
    }

    /// What is wrong although steps go on, or empty.
    private func problem(_ values: ShardFigures.Values) -> String {
        (passedOver.map { "\($0)" } + [values.problem].filter { !$0.isEmpty }).joined(separator: "; ")
    }

    /// What is said of the state when the coordinator comes back must not be older than what it has been told.
    func updateHello() {
        var state = figures.values.state
        // Also of tasks that the directory need not remember.
        if let machine, let held = state.holdings { state.holdings?.lastTask = max(held.lastTask, machine.newestTask) }
        if let machine { state = state.after(commitOf: machine.committed) }
        guard state != hello.state else { return }
        hello.state = state
        coordinator.update(hello)
    }
}
