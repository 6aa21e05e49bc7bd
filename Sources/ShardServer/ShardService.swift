import CenterStore
import Foundation
import Logging
import MemberSupport
import PartialFC
import ProcessSupport
import RunSetup
import ShardState
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
        /// Of the connection to another shard, by its endpoint.
        case shard(String, ClientEvent)
        /// The state is made, or cannot be.
        case ready(Result<ModelFigures, StartProblem>)
        case figures(ModelFigures)
        case computed(StepID, ShardResult<[Tensor]>)
        case failed(StepID, ShardTask, Refusal)
        case taskDone(Int, TaskOutcome)
        case received(Receiver.Event)
        /// The classes of this version are known to the model.
        case classes(Int)
        /// Something that was computed for a peer outside the step protocol.
        case answer(StepPeer, Result<WireMessage, Refusal>)
        /// The process was told to end.
        case stop(String)
        /// The process cannot go on.
        case fail(String, code: Int32)
    }

    /// Why the state could not be made, and what the process ends with.
    struct StartProblem: Error {
        var message: String
        var exitCode: Int32
    }

    let log: Logger
    let threads: Int
    let durability: DurabilityOptions
    let mailbox = Mailbox<Event>()
    let io: IOThread
    let server: ServerEndpoint
    let coordinator: ClientConnection
    let compute = ComputeThread(name: "compute")
    let gate = DiskGate()
    let origin = ContinuousClock.now
    var hello: Hello

    var welcome: Welcome?
    var setup: RunSetup?
    var policy: HandshakePolicy?
    var machine: Machine?
    var receiver: Receiver?
    /// The newest plan, for when the state is made.
    var plan: Plan?
    /// The step that was told to be safe.
    var notedSafe = Int.min
    /// The class version that the coordinator was asked for.
    var askedClasses: Int?
    /// The store and the model; used on the compute thread only.
    let box: ModelBox
    var figures: ModelFigures
    /// Connections to other shards, by endpoint, and what was asked over them.
    var shards: [String: ShardPeer] = [:]
    /// The committed step of the last heartbeat.
    var reportedStep = -1
    var nextHeartbeat = ContinuousClock.now
    var leaving: Leaving?
    var exitCode: Int32 = 0

    /// Holds the model for the compute thread.
    final class ModelBox: @unchecked Sendable {
        let store: ShardStore?
        var model: ShardModel?
        init(store: ShardStore?) { self.store = store }
    }

    /// How far the shard is with handing its slices over before it goes.
    struct Leaving {
        var reason: String
        /// When it goes anyway; nil once the coordinator has agreed.
        var deadline: ContinuousClock.Instant?
    }

    /// - Throws: `WireError` if the endpoint cannot be bound; the exit code of the process if the directory cannot be used.
    init(
        options: MemberOptions, durability: DurabilityOptions, bind: String, advertise: String?, log: Logger
    ) throws {
        self.log = log
        self.durability = durability
        threads = options.threads
        let store: ShardStore?
        do throws(CenterStoreError) { store = try durability.open() } catch {
            log.error("\(error)")
            Foundation.exit(error.exitCode)
        }
        if let torn = store?.tornTail { log.warning("the end of the log was cut off: \(torn)") }
        box = ModelBox(store: store)
        figures = ModelFigures(store: store)
        io = try IOThread()
        server = try ServerEndpoint(bind: bind, thread: io, events: mailbox.sink { .server($0) })
        hello = .thisProcess(role: .shard, name: options.name, threads: options.threads)
        hello.endpoint = if let advertise { server.advertised(host: advertise) } else { server.endpoint }
        hello.state = figures.state
        if let identity = store?.identity {
            hello.clusterID = identity.clusterID
            hello.previousNumber = identity.member
        }
        coordinator = try ClientConnection(
            connect: options.coordinator, hello: hello, thread: io, events: mailbox.sink { .coordinator($0) })
        log.info("listening at \(hello.endpoint), joining \(options.coordinator)")
        gate.onChange = { [log] obstacle in
            if obstacle.isEmpty {
                log.info("the disk takes the log again")
            } else {
                log.warning("cannot prepare, tried again twice a second: \(obstacle)")
            }
        }
    }

    /// Hands the slices over if the process was asked kindly, and makes `run` return. From any thread.
    func stop(_ reason: String) { mailbox.post(.stop(reason)) }

    /// Serves until `stop`, or until the coordinator refuses this shard.
    ///
    /// - Returns: the exit code.
    func run() -> Int32 {
        defer {
            gate.close()
            compute.close()
            for peer in shards.values { peer.connection.close() }
            coordinator.close()
            server.close()
            io.close()
        }
        while true {
            var deadline = nextHeartbeat
            if let tick = receiver?.nextDeadline { deadline = min(deadline, origin + tick) }
            if let leave = leaving?.deadline { deadline = min(deadline, leave) }
            let event = mailbox.next(until: deadline)
            if ContinuousClock.now >= nextHeartbeat { beat() }
            if let tick = receiver?.nextDeadline, now >= tick { tell(.tick) }
            if let leave = leaving, let deadline = leave.deadline, ContinuousClock.now >= deadline {
                leaveAtOnce("\(leave.reason); the coordinator did not answer")
                return exitCode
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
        case .coordinator(.welcomed(let welcome)): return join(welcome)
        case .coordinator(.refused(let refusal)): return hear(refusal)
        case .coordinator(.unanswered(let endpoint)):
            log.warning("no answer from the coordinator at \(endpoint); trying on")
        case .coordinator(.received(_, let message)): return receive(message)
        case .server(.received(let peer, let request, let message)):
            serve(message, StepPeer(peer: peer, request: request))
        case .server(.dropped(let peer)):
            log.warning("a peer does not read what it is sent", metadata: ["peer": "\(peer)"])
        case .shard(let endpoint, let event): hear(event, from: endpoint)
        case .ready(let result): return begin(result)
        case .figures(let figures): note(figures)
        case .computed(let id, let result): drive(.computed(id, result))
        case .failed(let id, let task, let refusal):
            log.error("\(id): \(refusal.message)")
            drive(.failed(id, task, code: refusal.code, message: refusal.message))
        case .taskDone(let number, let outcome):
            if case .failed(let message) = outcome { log.error("task \(number): \(message)") }
            drive(.taskDone(number: number, outcome))
        case .received(let event):
            if case .failed(let slice, let message) = event {
                log.warning("the copy of \(slice) begins anew: \(message)")
            }
            tell(event)
        case .classes(let version):
            askedClasses = nil
            figures.classVersion = version
            if let plan { return follow(plan) }
        case .answer(let peer, .success(let message)): server.send(message, to: peer.peer, request: peer.request)
        case .answer(let peer, .failure(let refusal)): server.refuse(peer.peer, request: peer.request, refusal)
        case .stop(let reason): return stopping(reason)
        case .fail(let message, let code):
            log.critical("\(message)")
            exitCode = code
            return false
        }
        return true
    }
}
