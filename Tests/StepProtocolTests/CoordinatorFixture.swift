public import Cluster
internal import StepProtocol
import Testing

/// A coordinator's machine with its database. Peers are called as their processes: `s0` is a shard of incarnation 100, `w0` a
/// worker of incarnation 0.
struct CoordinatorFixture {
    typealias Machine = CoordinatorMachine

    var machine: Machine
    var now = Duration.zero
    /// What the shell would have written: the record is rebuilt from nothing but decisions.
    var database = CoordinatorRecord()
    /// Plans sent by the last event, by peer.
    var plans: [String: Plan] = [:]
    /// Decisions of the last event.
    var decisions: [CoordinatorRecord.Decision] = []

    init(_ configuration: CoordinatorConfiguration = Self.configuration()) {
        machine = Machine(configuration)
        perform(machine.start(at: now))
    }

    static func configuration(
        steps: Int = 10, minimumWorkers: Int = 1, microBatches: Int = 4,
        _ change: (inout CoordinatorConfiguration) -> Void = { _ in }
    ) -> CoordinatorConfiguration {
        var configuration = CoordinatorConfiguration(
            batchSize: 8, microBatchCount: microBatches, sliceCount: 8, denseSliceCount: 4, expectedShards: 2,
            minimumWorkers: minimumWorkers, totalSteps: steps, exchange: .features, lease: .seconds(10),
            unresponsiveLimit: 2, unresponsiveBackoff: .seconds(1), learningRate: { 1 / Float($0 + 1) },
            head: {
                HeadValues(sampleRate: $0 < 5 ? 0.1 : 1, m1: 1, m2: 0.5, m3: 0, scale: 64)
            })
        change(&configuration)
        return configuration
    }

    /// Gives the event to the machine and returns its actions, without plans and decisions, as words.
    @discardableResult
    mutating func tell(_ event: Machine.Event, _ location: SourceLocation = #_sourceLocation) -> [String] {
        perform(machine.handle(event, at: now), location)
    }

    @discardableResult
    private mutating func perform(_ actions: [Machine.Action], _ location: SourceLocation = #_sourceLocation)
        -> [String]
    {
        plans = [:]
        decisions = []
        var words: [String] = []
        var isDeciding = true
        for action in actions {
            if case .persist(let decision) = action {
                #expect(isDeciding, "\(decision) comes after what may follow from it", sourceLocation: location)
                decisions.append(decision)
                database.apply(decision)
                continue
            }
            isDeciding = false
            switch action {
            case .persist: break
            case .welcome(let peer, let member): words.append("\(peer.name) is \(member)")
            case .refuse(let peer, let code, let message): words.append("\(peer.name) refused \(code): \(message)")
            case .dismiss(let peer, let member): words.append("\(peer.name) may go: \(member)")
            case .send(_, let peer, let plan): plans[peer.name] = plan
            case .committed(let report):
                words.append("committed \(report.step) loss \(report.loss.map { "\($0)" } ?? "none")")
            case .event(let level, let text): if level != .info { words.append("\(level): \(text)") }
            case .refuseOperator(let message): words.append("no: \(message)")
            case .writeCheckpoint(let number, let checkpoint, let details):
                words.append("write \(number) \(checkpoint.directory) \(details.values.sorted())")
            case .deleteCheckpoint(let checkpoint): words.append("delete \(checkpoint.directory)")
            case .abandonCheckpoint(let checkpoint): words.append("abandon \(checkpoint.directory)")
            case .finished: words.append("finished")
            case .failed(let reason): words.append("failed: \(reason)")
            }
        }
        if let flaw = machine.check() { Issue.record("\(flaw)", sourceLocation: location) }
        #expect(database == machine.record, "every change is a decision", sourceLocation: location)
        return words
    }

    /// The coordinator's process dies and starts again with what was written.
    mutating func restart(losing lost: Int = 0) {
        database.committed -= lost
        database.attempts.removeAll { $0.step > database.committed }
        machine = Machine(machine.configuration, record: database)
        perform(machine.start(at: now))
    }

    // MARK: What peers say

    static func identity(_ peer: String) -> (member: MemberID, incarnation: UInt64) {
        let number = Int(peer.dropFirst()) ?? 0
        let isShard = peer.hasPrefix("s")
        return (MemberID(isShard ? .shard : .worker, number), UInt64(number + (isShard ? 100 : 0)))
    }

    @discardableResult
    mutating func join(
        _ peer: String, incarnation: UInt64? = nil, previous: Int? = nil, state: ShardState? = nil,
        writesResults: Bool = false, zone: String = ""
    ) -> [String] {
        tell(
            .joined(
                PeerID(name: peer), role: peer.hasPrefix("s") ? .shard : .worker,
                incarnation: incarnation ?? Self.identity(peer).incarnation, endpoint: "at \(peer)",
                previousNumber: previous, state: state, writesResults: writesResults, zone: zone))
    }

    /// Shards s0 and s1 and `workers` w0…; the run has started.
    mutating func start(workers: Int = 1) {
        for shard in 0..<2 { join("s\(shard)") }
        for worker in 0..<workers { join("w\(worker)") }
    }

    /// The state of a shard that has everything up to `newest` in its directory.
    static func holding(_ newest: Int, oldest: Int = -1) -> ShardState {
        ShardState(newest: newest, oldest: oldest, hasSlices: true)
    }

    func result(_ rank: Int, norm: Double = 5, losses: [Double]? = nil, backbone: Double = 1) -> StepResult {
        let range = machine.plan.ranks[rank].microBatches
        return StepResult(
            id: machine.id, microBatches: range, lossSums: losses ?? range.map { Double($0 + 1) }, gradientNorm: norm,
            backboneSeconds: backbone, exchangeSeconds: 1, totalSeconds: 1 + backbone)
    }

    func done(_ worker: Int, _ result: StepResult) -> Machine.Event {
        .stepDone("w\(worker)", MemberID(.worker, worker), incarnation: UInt64(worker), result)
    }

    func failed(_ code: RefusalCode, _ message: String) -> Machine.Event {
        .stepFailed("w0", MemberID(.worker, 0), incarnation: 0, machine.id, code: code, message: message)
    }

    /// Every worker of the world reports the step.
    @discardableResult
    mutating func commit() -> [String] {
        let ranks = machine.plan.ranks
        let results = ranks.indices.map { result($0) }
        var actions = prepare()
        for rank in ranks.indices { actions += tell(done(ranks[rank].worker.number, results[rank])) }
        return actions
    }

    /// Every shard says that it is prepared for the running attempt.
    @discardableResult
    mutating func prepare() -> [String] {
        let id = machine.id
        return machine.plan.shards.flatMap { shard -> [String] in
            guard let known = machine.record.members[shard.shard] else { return [] }
            return tell(.prepared("s\(shard.shard.number)", shard.shard, incarnation: known.incarnation, id))
        }
    }

    mutating func commit(through step: Int) {
        while machine.committed < step && machine.activity == .train { commit() }
    }

    /// A checkpoint of s0 and s1, after the next step.
    mutating func takeCheckpoint() {
        tell(.checkpoint)
        commit()
        let number = task?.number ?? 0
        acknowledge("s0", "s1")
        tell(.checkpointWritten(number: number, problem: nil))
    }

    @discardableResult
    mutating func acknowledge(_ peers: String..., outcome: TaskOutcome = .done(detail: "")) -> [String] {
        guard let number = task?.number else { return ["there is no task"] }
        return peers.flatMap { peer in
            let (member, incarnation) = Self.identity(peer)
            return tell(.taskDone(PeerID(name: peer), member, incarnation: incarnation, number: number, outcome))
        }
    }

    @discardableResult
    mutating func beat(_ peers: String..., report: ShardReport? = nil) -> [String] {
        peers.flatMap { peer in
            let (member, incarnation) = Self.identity(peer)
            let usual =
                member.role == .shard ? ShardReport(committed: machine.committed, durable: machine.committed) : nil
            return tell(.heartbeat(PeerID(name: peer), member, incarnation: incarnation, report: report ?? usual))
        }
    }

    /// Time passes; these peers give signs of life every second.
    mutating func pass(_ seconds: Int, alive: [String] = []) {
        for _ in 0..<seconds {
            now += .seconds(1)
            for peer in alive { beat(peer) }
            tell(.tick)
        }
    }

    /// The shard reports that it holds complete copies of what is on its way to it.
    mutating func receive(_ peer: String) {
        let member = Self.identity(peer).member
        let mine = machine.plan.moves.filter { $0.to == member }.map { ($0.slice, machine.committed) }
        let received = Dictionary(uniqueKeysWithValues: mine)
        let step = machine.committed
        beat(peer, report: ShardReport(committed: step, durable: step, received: received))
    }

    // MARK: What is so

    var task: BoundaryTask? { if case .task(let task) = machine.activity { task } else { nil } }
    var waits: String? { if case .wait(let reason) = machine.activity { reason } else { nil } }
    /// Class-center slices of each shard of the plan.
    var slices: [Int: SliceSet] {
        Dictionary(uniqueKeysWithValues: machine.plan.shards.map { ($0.shard.number, $0.slices) })
    }
}

/// Peers of tests are called by names.
extension PeerID: ExpressibleByStringInterpolation {
    init(name: String) { self.init(bytes: Array(name.utf8)) }
    public init(stringLiteral name: String) { self.init(name: name) }

    var name: String { String(decoding: bytes, as: UTF8.self) }
}
