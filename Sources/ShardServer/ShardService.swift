import Cluster
import Foundation
import Logging
import MemberSupport
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

/// The shell of a shard server: it polls, asks its session, and carries out. One thread takes events, another computes.
final class ShardService: MemberService, @unchecked Sendable {
    typealias Session = ShardSession<StepPeer, [Tensor], [Tensor]>
    typealias Machine = Session.Machine
    typealias Receiver = Session.Receiver

    /// The connection and number of a request.
    struct StepPeer: Hashable, Sendable {
        var peer: PeerID
        var request: UInt64
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
    /// Its copy of what the coordinator must not forget.
    let record: RecordKeeper
    let health = ProcessHealth()
    let origin = ContinuousClock.now
    var hello: Hello

    /// What the shard decides.
    var session: Session
    var welcome: Welcome?
    var setup: RunSetup?
    var policy: HandshakePolicy?
    /// The model; touched on the compute thread only, but for being made known here.
    let model = ModelBox()
    /// The operations on the classes, as the coordinator has told them.
    var classList: ClassList?
    var obstacle = ""
    /// What a coordinator that does not decide has said last.
    var lastStanding = ""
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
    var nextHeartbeat = ContinuousClock.now
    var exitCode: Int32 = 0

    /// Holds the model for the compute thread.
    final class ModelBox: @unchecked Sendable { var model: ShardEngine? }

    /// - Parameter zone: the name of what fails together with this process; empty for its host.
    /// - Throws: `CenterStoreError` if the directory cannot be used, `WireError` if the endpoint cannot be bound.
    init(
        options: MemberOptions, storage: StorageOptions, bind: String, advertise: AdvertisedAddress?, zone: String,
        log: Logger
    ) throws {
        self.log = log
        self.storage = storage
        threads = options.threads
        security = try options.security(as: .shard)
        (store, passedOver) = try storage.open()
        for directory in passedOver { log.error("\(directory)") }
        record = RecordKeeper(directory: store?.directory, log: log)
        io = try IOThread()
        server = try ServerEndpoint(
            bind: bind, security: security.server, thread: io, events: mailbox.sink { .server($0) })
        if let warning = server.warning { log.warning("\(warning)") }
        session = Session(store: store)
        hello = .thisProcess(
            role: .shard, name: options.name, threads: options.threads,
            kernels: "\(MatrixKernels.description), \(KernelChoice.head) \(MatrixKernels.ofHead)")
        hello.endpoint = try server.endpoint(advertisedAs: advertise, host: ProcessInfo.processInfo.hostName)
        hello.zone = zone
        hello.configurationHash = store?.identity?.configurationHash ?? hello.configurationHash
        hello.introduce(session.introduction)
        hello.record = record.news() ?? ""
        hello.vote = record.vote
        figures.update(session.introduction.state)
        coordinator = try ClientConnection(
            connect: options.coordinator, hello: hello, security: security.coordinator, thread: io,
            events: mailbox.sink { .coordinator($0) })
        gate.onChange = { [mailbox] in mailbox.post(.obstacle($0)) }
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
            makeKnown()
            let due = session.nextDeadline.map { min(nextHeartbeat, origin + $0) } ?? nextHeartbeat
            let event = mailbox.next(until: due)
            if ContinuousClock.now >= nextHeartbeat { beat() }
            if let deadline = session.nextDeadline, deadline <= now {
                noteArrivals()
                if !tell(.tick) { return exitCode }
            }
            guard let event else { continue }
            if !handle(event) { return exitCode }
        }
    }

    var incarnation: UInt64 { hello.incarnation }
    var now: Duration { ContinuousClock.now - origin }
    var machine: Machine? { session.machine }
}
