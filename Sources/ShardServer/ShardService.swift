import Foundation
import Logging
import MemberSupport
import PartialFC
import ProcessSupport
import RunConfiguration
import RunSetup
import StepProtocol
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

    let log: Logger
    let threads: Int
    let mailbox = Mailbox<Event>()
    let io: IOThread
    let server: ServerEndpoint
    let coordinator: ClientConnection
    let compute = ComputeThread(name: "compute")
    let origin = ContinuousClock.now
    var hello: Hello

    var welcome: Welcome?
    var setup: RunSetup?
    var policy: HandshakePolicy?
    var machine: Machine?
    /// The model; touched on the compute thread only, but for being made known here.
    let model = ModelBox()
    var assigned: Plan.Shard?
    var isReady = false
    var memoryBytes = 0
    /// The committed step of the last heartbeat.
    var reportedStep = -1
    var nextHeartbeat = ContinuousClock.now
    var exitCode: Int32 = 0

    /// Holds the model for the compute thread.
    final class ModelBox: @unchecked Sendable { var model: ShardModel? }

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

    var incarnation: UInt64 { hello.incarnation }
    var now: Duration { ContinuousClock.now - origin }

    /// Returns false when the service ends.
    func handle(_ event: Event) -> Bool {
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

    func join(_ welcome: Welcome) -> Bool {
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

    func receive(_ message: WireMessage) -> Bool {
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
    func follow(_ plan: Plan) -> Bool {
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
        // The coordinator waits for the word that the last step is committed everywhere.
        if plan.activity == .finished, let machine, machine.committed != reportedStep { beat() }
        return true
    }

    func beat() {
        let interval = Duration.milliseconds(welcome?.heartbeatMilliseconds ?? 1000)
        nextHeartbeat = .now + interval
        guard let welcome, coordinator.isWelcomed else { return }
        reportedStep = machine?.committed ?? -1
        hello.stateStep = reportedStep
        coordinator.update(hello)
        let statistics: [String: Double] = [
            "committed": Double(reportedStep), "memory_bytes": Double(memoryBytes),
            "resident_bytes": Double(ProcessMemory.residentBytes),
            "peak_resident_bytes": Double(ProcessMemory.peakResidentBytes),
            "refused": Double(server.counters.rejectedTotal),
        ]
        coordinator.send(
            .heartbeat(Heartbeat(member: welcome.member, incarnation: incarnation, statistics: statistics)))
    }
}
