import Foundation
import Logging
import MemberSupport
import PartialFC
import ProcessSupport
import RunConfiguration
import RunSetup
import StepProtocol
import Synchronization
import Tensors
import Wire

/// The shell around the shard's state machine: one thread takes events, another computes.
final class ShardService: MemberService, @unchecked Sendable {
    typealias Machine = ShardMachine<StepPeer, [Tensor]>

    /// The connection and number of a step request.
    struct StepPeer: Hashable, Sendable {
        var peer: PeerID
        var request: UInt64
    }

    /// What the loop waits for.
    enum Event: Sendable {
        case coordinator(ClientEvent)
        case server(ServerEvent)
        /// The slices are made, or could not be.
        case ready(Result<Ready, Refusal>)
        case computed(StepID, ShardResult<[Tensor]>)
        case failed(StepID, ShardTask, Refusal)
        /// Something that was computed for a peer outside the step protocol.
        case answer(StepPeer, Result<WireMessage, Refusal>)
        case stop(String)
    }

    /// What the loop learns of a new model.
    struct Ready: Sendable {
        var memoryBytes: Int
        var seconds: Double
    }

    private let log: Logger
    private let threads: Int
    private let mailbox = Mailbox<Event>()
    private let io: IOThread
    private let server: ServerEndpoint
    private let coordinator: ClientConnection
    private let compute = ComputeThread(name: "compute")
    private let origin = ContinuousClock.now
    private var hello: Hello

    private var welcome: Welcome?
    private var setup: RunSetup?
    private var policy: HandshakePolicy?
    private var machine: Machine?
    /// The model; touched on the compute thread only, but for being made known here.
    private let model = ModelBox()
    private var assigned: Plan.Shard?
    private var isReady = false
    private var memoryBytes = 0
    private var nextHeartbeat = ContinuousClock.now
    private var exitCode: Int32 = 0

    /// Holds the model for the compute thread.
    private final class ModelBox: @unchecked Sendable { var model: ShardModel? }

    /// - Throws: `WireError` if the endpoint cannot be bound.
    init(options: MemberOptions, bind: String, advertise: String?, log: Logger) throws {
        self.log = log
        threads = options.threads
        io = try IOThread()
        server = try ServerEndpoint(bind: bind, thread: io, events: mailbox.sink { .server($0) })
        hello = .thisProcess(role: .shard, name: options.name, threads: options.threads)
        hello.endpoint = if let advertise { server.advertised(host: advertise) } else { server.endpoint }
        coordinator = try ClientConnection(
            connect: options.coordinator, hello: hello, thread: io, events: mailbox.sink { .coordinator($0) })
        log.info("listening at \(hello.endpoint), joining \(options.coordinator)")
    }

    /// Makes `run` return. From any thread.
    func stop(_ reason: String) { mailbox.post(.stop(reason)) }

    /// Serves until `stop` or until the coordinator refuses this shard.
    ///
    /// - Returns: the exit code.
    func run() -> Int32 {
        defer {
            compute.close()
            coordinator.close()
            server.close()
            io.close()
        }
        while true {
            let event = mailbox.next(until: nextHeartbeat)
            if ContinuousClock.now >= nextHeartbeat { beat() }
            guard let event else { continue }
            if !handle(event) { return exitCode }
        }
    }

    private var incarnation: UInt64 { hello.incarnation }
    private var now: Duration { ContinuousClock.now - origin }

    /// Returns false when the service ends.
    private func handle(_ event: Event) -> Bool {
        switch event {
        case .coordinator(.welcomed(let welcome)): return join(welcome)
        case .coordinator(.refused(let refusal)):
            log.error("the coordinator refused this shard: \(refusal.message)")
            exitCode = 77
            return false
        case .coordinator(.unanswered(let endpoint)):
            log.warning("no answer from the coordinator at \(endpoint); trying on")
        case .coordinator(.received(_, let message)): return receive(message)
        case .server(.received(let peer, let request, let message)):
            serve(message, StepPeer(peer: peer, request: request))
        case .server(.dropped(let peer)):
            log.warning("a peer does not read what it is sent", metadata: ["peer": "\(peer)"])
        case .ready(.success(let ready)):
            isReady = true
            memoryBytes = ready.memoryBytes
            log.info("ready: \(Units.bytes(ready.memoryBytes)) in \(Units.fixed(ready.seconds, 2)) s")
        case .ready(.failure(let refusal)):
            log.error("the slices cannot be made: \(refusal.message)")
            exitCode = 70
            return false
        case .computed(let id, let result): drive(.computed(id, result))
        case .failed(let id, let task, let refusal):
            log.error("\(id): \(refusal.message)")
            drive(.failed(id, task, code: refusal.code, message: refusal.message))
        case .answer(let peer, .success(let message)): server.send(message, to: peer.peer, request: peer.request)
        case .answer(let peer, .failure(let refusal)): server.refuse(peer.peer, request: peer.request, refusal)
        case .stop(let reason):
            log.info("stopping: \(reason)")
            if let welcome {
                coordinator.send(.leave(Leave(member: welcome.member, incarnation: incarnation, reason: reason)))
            }
            return false
        }
        return true
    }

    // MARK: The coordinator

    private func join(_ welcome: Welcome) -> Bool {
        if let known = self.welcome, known.clusterID != welcome.clusterID {
            log.error(
                "the coordinator now runs cluster \(welcome.clusterID), this shard holds a part of \(known.clusterID)")
            exitCode = 70
            return false
        }
        if self.welcome == nil {
            do {
                let setup = try RunSetup(RunConfiguration(yaml: welcome.configuration))
                self.setup = setup
                policy = HandshakePolicy(
                    clusterID: welcome.clusterID, embeddingSize: setup.head.embeddingSize,
                    classCount: setup.head.classCount,
                    configurationHash: welcome.configurationHash)
                machine = Machine(microBatchCount: setup.configuration.microBatchCount, empty: [])
            } catch {
                log.error("the coordinator's configuration cannot be used: \(error)")
                exitCode = 78
                return false
            }
        }
        self.welcome = welcome
        hello.clusterID = welcome.clusterID
        hello.previousNumber = welcome.member.number
        log.info("joined cluster \(welcome.clusterID) as \(welcome.member)")
        beat()
        return true
    }

    private func receive(_ message: WireMessage) -> Bool {
        switch message {
        case .plan(let plan): return follow(plan)
        case .heartbeatReply(let reply): drive(.committed(reply.committed))
        case .refused(let refusal):
            log.warning("the coordinator refused a message: \(refusal.message)")
            if refusal.code == .incarnation || refusal.code == .notWelcomed { coordinator.greet(hello) }
        default: break
        }
        return true
    }

    /// Learns from the plan which slices are this shard's, and which step is committed.
    private func follow(_ plan: Plan) -> Bool {
        guard let welcome, let setup else { return true }
        if let misfit = setup.misfit(of: plan) {
            log.error("the coordinator's plan does not fit its configuration: \(misfit)")
            exitCode = 70
            return false
        }
        if let mine = plan.shards.first(where: { $0.shard == welcome.member }) {
            if let assigned, assigned.slices != mine.slices || assigned.denseSlices != mine.denseSlices {
                log.error("the plan moves slices \(assigned.slices) to \(mine.slices); this shard cannot")
                exitCode = 70
                return false
            }
            if assigned == nil {
                assigned = mine
                log.info(
                    "owns slices \(mine.slices) (classes \(setup.classes(ofSlices: mine.slices))), dense slices \(mine.denseSlices)"
                )
                let (mailbox, box, threads) = (mailbox, model, threads)
                compute.submit {
                    let start = ContinuousClock.now
                    do {
                        let model = try ShardModel(
                            setup: setup, slices: mine.slices, denseSlices: mine.denseSlices, threads: threads)
                        box.model = model
                        let took = ContinuousClock.now - start
                        mailbox.post(
                            .ready(.success(Ready(memoryBytes: model.memoryBytes, seconds: took / .seconds(1)))))
                    } catch {
                        mailbox.post(.ready(.failure(Refusal(error))))
                    }
                }
            }
        }
        drive(.plan(plan))
        return true
    }

    private func beat() {
        let interval = Duration.milliseconds(welcome?.heartbeatMilliseconds ?? 1000)
        nextHeartbeat = .now + interval
        guard let welcome, coordinator.isWelcomed else { return }
        hello.stateStep = machine?.committed ?? -1
        coordinator.update(hello)
        let statistics: [String: Double] = [
            "committed": Double(machine?.committed ?? -1), "memory_bytes": Double(memoryBytes),
            "resident_bytes": Double(ProcessMemory.residentBytes),
            "peak_resident_bytes": Double(ProcessMemory.peakResidentBytes),
            "refused": Double(server.counters.rejectedTotal),
        ]
        coordinator.send(
            .heartbeat(Heartbeat(member: welcome.member, incarnation: incarnation, statistics: statistics)))
    }

    // MARK: Workers and operators

    private func serve(_ message: WireMessage, _ peer: StepPeer) {
        switch message {
        case .hello(let hello): greet(hello, peer)
        case .stepRequest(let request, _):
            guard isReady else {
                let current = StepID(step: 0, attempt: 0)
                let reply = StepReply<[Tensor]>(
                    id: request.id, rank: request.rank, phase: request.phase,
                    outcome: .notReady(current: current, committed: -1))
                server.send(.stepReply(reply), to: peer.peer, request: peer.request)
                return
            }
            drive(.request(peer, request))
        case .readRows(let ids):
            answer(peer) { model, _ throws(Refusal) in
                let (rows, momentum) = try model.read(ids: ids)
                return .rows(rows: rows, momentum: momentum)
            }
        case .readSliceHashes: answer(peer) { model, step throws(Refusal) in .sliceHashes(model.hashes(step: step)) }
        default:
            server.refuse(
                peer.peer, request: peer.request,
                Refusal(
                    .unknownRequest, "a shard does not take \(message.name); send it to the coordinator or not at all"))
        }
    }

    private func greet(_ hello: Hello, _ peer: StepPeer) {
        guard let policy, let welcome else {
            server.refuse(
                peer.peer, request: peer.request,
                Refusal(.notWelcomed, "this shard has not joined a cluster yet; try again in a second"))
            return
        }
        if case .failure(let refusal) = policy.check(hello) {
            log.warning("refused \(hello.role) \(hello.name) of \(hello.host): \(refusal.message)")
            server.refuse(peer.peer, request: peer.request, refusal)
            return
        }
        let member = MemberID(hello.role, max(0, hello.previousNumber))
        var answer = Welcome(clusterID: welcome.clusterID, member: member)
        answer.configurationHash = welcome.configurationHash
        answer.heartbeatMilliseconds = welcome.heartbeatMilliseconds
        answer.leaseMilliseconds = welcome.leaseMilliseconds
        server.welcome(peer.peer, request: peer.request, answer)
    }

    /// Computes an answer between the computations of the steps.
    private func answer(
        _ peer: StepPeer, _ body: @escaping @Sendable (ShardModel, _ committed: Int) throws(Refusal) -> WireMessage
    ) {
        let (mailbox, box, committed) = (mailbox, model, machine?.committed ?? -1)
        compute.submit {
            guard let model = box.model else {
                mailbox.post(
                    .answer(peer, .failure(Refusal(.notWelcomed, "this shard owns no slices yet; try again later"))))
                return
            }
            do throws(Refusal) { mailbox.post(.answer(peer, .success(try body(model, committed)))) } catch {
                mailbox.post(.answer(peer, .failure(error)))
            }
        }
    }

    // MARK: The machine

    private func drive(_ event: Machine.Event) {
        for action in machine?.handle(event, at: now) ?? [] {
            switch action {
            case .reply(let peer, let reply): server.send(.stepReply(reply), to: peer.peer, request: peer.request)
            case .compute(let id, let computation): perform(id, computation)
            }
        }
    }

    private func perform(_ id: StepID, _ computation: ShardComputation<[Tensor]>) {
        let (mailbox, box, log) = (mailbox, model, log)
        compute.submit {
            guard let model = box.model else { return }
            do throws(Refusal) {
                if let result = try model.perform(id, computation) { mailbox.post(.computed(id, result)) }
            } catch {
                if let task = computation.task {
                    mailbox.post(.failed(id, task, error))
                } else {
                    log.critical("\(id): \(error.message)")
                    mailbox.post(.stop("its state cannot be trusted"))
                }
            }
        }
    }
}

extension ShardComputation {
    /// What fails if this computation does; nil for those that cannot.
    var task: ShardTask? {
        switch self {
        case .sample: .sample
        case .forward(let rank, _): .forward(rank: rank)
        case .backward: .backward
        case .dense: .dense
        case .update: .update
        case .parameters(let rank): .parameters(rank: rank)
        case .rollback, .commit: nil
        }
    }
}
