internal import Determinism
internal import Foundation
internal import OperatorStatus

/// Kills, stops, starts, adds and drains processes of a cluster at random moments while it trains, as a bad day would.
///
/// What it does is a function of its seed; when exactly it happens is up to the machine. Use from one thread.
public final class ChaosSupervisor {
    /// How much harm is done.
    public struct Options: Sendable {
        public var seed: UInt64
        /// Number of kills and stops.
        public var faults: Int
        /// Number of steps of the run, over which they are spread.
        public var steps: Int
        /// Seconds of the run's lease.
        public var lease: Double
        public var mostShards = 4
        public var mostWorkers = 3
        /// Seconds without a commit after which the run counts as stuck.
        public var patience = 120.0

        public init(seed: UInt64, faults: Int, steps: Int, lease: Double) {
            self.seed = seed
            self.faults = faults
            self.steps = steps
            self.lease = lease
        }
    }

    private enum Deed {
        case fault(ChaosFault)
        case change(ChaosChange)
    }

    private let cluster: LocalCluster
    private let options: Options
    private let say: (String) -> Void
    private var random: KeyedRandom
    private var report = ChaosReport()
    private var followUps: [(time: Date, action: () throws -> Void)] = []
    /// Processes that are down or stopped until a follow-up.
    private var busy: Set<ObjectIdentifier> = []
    /// Shards that were told to go.
    private var leaving: Set<ObjectIdentifier> = []
    /// Processes that are gone for good.
    private var gone: Set<ObjectIdentifier> = []
    private var names: [ObjectIdentifier: String] = [:]
    private var last: ClusterStatus?
    private var nextPoll = Date.distantPast
    private var lastProgress = Date()
    private let start = Date()

    /// - Parameters:
    ///   - cluster: a cluster that has been started.
    ///   - say: gets a line for every deed.
    public init(cluster: LocalCluster, options: Options, say: @escaping (String) -> Void) {
        self.cluster = cluster
        self.options = options
        self.say = say
        random = KeyedRandom(seed: options.seed, purpose: .test)
    }

    /// Does all the harm, and sees to it that the run is finished.
    ///
    /// - Throws: `HarnessError` if the run fails, is stuck, or does not end in `seconds`.
    public func run(seconds: Double) throws -> ChaosReport {
        let end = Date(timeIntervalSinceNow: seconds)
        var deeds = schedule()
        while last?.state != "finished" || !followUps.isEmpty {
            guard Date() < end else { throw HarnessError("not finished after \(seconds) s: \(situation)") }
            try tend()
            if let next = deeds.first, let committed = last?.committed, committed >= next.step,
                last?.state != "finished"
            {
                deeds.removeFirst()
                switch next.deed {
                case .fault(let fault): try perform(fault)
                case .change(let change): try perform(change)
                }
            } else {
                Thread.sleep(forTimeInterval: 0.01)
            }
        }
        return report
    }

    /// What is done after which step.
    private func schedule() -> [(step: Int, deed: Deed)] {
        var deeds: [Deed] = []
        for index in 0..<options.faults { deeds.append(.fault(ChaosFault.allCases[index % ChaosFault.allCases.count])) }
        for index in 0..<max(options.faults / 4, 2) {
            deeds.append(.change(ChaosChange.allCases[index % ChaosChange.allCases.count]))
        }
        deeds.shuffle(using: &random)
        let span = Double(options.steps) * 0.9
        return deeds.enumerated().map { index, deed in
            (Int((Double(index) + random.unit()) / Double(deeds.count) * span), deed)
        }
    }

    // MARK: - Looking after the cluster

    /// Does what is due, starts what ended by itself, and asks the coordinator how things are.
    private func tend() throws {
        let due = followUps.filter { $0.time <= Date() }
        followUps.removeAll { $0.time <= Date() }
        for followUp in due { try followUp.action() }
        if Date() >= nextPoll {
            poll()
            nextPoll = Date(timeIntervalSinceNow: 0.05)
        }
        for process in cluster.processes where !process.isRunning && !busy.contains(ObjectIdentifier(process)) {
            try lookAfter(process)
        }
        if Date().timeIntervalSince(lastProgress) > options.patience { throw HarnessError("stuck: \(situation)") }
        if let last, last.state == "failed" { throw HarnessError("the run failed: \(last.reason)") }
    }

    private func poll() {
        guard let status = try? cluster.status(seconds: 0.5) else { return }
        if status.committed != last?.committed { lastProgress = Date() }
        last = status
        for shard in status.shards {
            if let process = cluster.shards.first(where: { Int($0.processIdentifier) == shard.processID }) {
                names[ObjectIdentifier(process)] = shard.name
            }
        }
        let owners = status.owners.count
        guard owners > 0 else { return }
        report.owners = (min(report.owners.fewest, owners), max(report.owners.most, owners))
    }

    /// A process has ended that nobody holds back.
    private func lookAfter(_ process: ClusterProcess) throws {
        let id = ObjectIdentifier(process)
        guard !gone.contains(id), last?.state != "finished" else { return }
        if leaving.contains(id) {
            // Only the coordinator knows whether it has handed over everything, or has to come back.
            guard let status = try? cluster.status(seconds: 0.5) else { return }
            if !status.shards.contains(where: { $0.name == names[id] }) {
                gone.insert(id)
                note("\(process.name) has gone")
                return
            }
            note("\(process.name) left with its slices (\(process.ending ?? "")): started again")
        } else if !process.wasEnded {
            // The news that the run is over may be on its way.
            poll()
            if last?.state == "finished" { return }
            report.unexpected.append("\(process.name): \(process.ending ?? "")")
            note("\(process.name) ended by itself: \(process.ending ?? ""): started again")
        }
        startLater(process, after: 0.2)
    }

    private var situation: String {
        let processes = cluster.processes.filter { !gone.contains(ObjectIdentifier($0)) }.map {
            "\($0.name) \($0.ending ?? ($0.isSuspended ? "stopped" : "runs"))"
        }
        let state = last.map { "\($0.state) \($0.reason), step \($0.committed)" } ?? "no status"
        return "\(state); \(processes.joined(separator: ", ")); logs in \(cluster.directory.path)"
    }

    private func note(_ text: String) {
        let seconds = String(format: "%6.1f", Date().timeIntervalSince(start))
        say("\(seconds) s, step \(last?.committed ?? -1): \(text)")
    }

    private func later(_ seconds: Double, _ action: @escaping () throws -> Void) {
        followUps.append((Date(timeIntervalSinceNow: seconds), action))
    }

    private func startLater(_ process: ClusterProcess, after seconds: Double) {
        busy.insert(ObjectIdentifier(process))
        later(seconds) { [self] in
            busy.remove(ObjectIdentifier(process))
            if !process.isRunning { try process.start() }
        }
    }

    private func pause(_ seconds: Double) throws {
        let end = Date(timeIntervalSinceNow: seconds)
        while Date() < end {
            try tend()
            Thread.sleep(forTimeInterval: 0.005)
        }
    }

    /// Waits, at most `seconds`, until a status fulfils `condition`.
    private func wait(_ seconds: Double, _ condition: (ClusterStatus) -> Bool) throws -> Bool {
        let end = Date(timeIntervalSinceNow: seconds)
        repeat {
            try tend()
            if let status = try? cluster.status(seconds: 0.5) {
                if condition(status) { return true }
                if status.state == "finished" { return false }
            }
        } while Date() < end
        return false
    }

    // MARK: - Choices

    private func pick<Element>(_ elements: [Element]) -> Element? {
        elements.isEmpty ? nil : elements[Int(random.below(UInt64(elements.count)))]
    }

    private func between(_ low: Double, _ high: Double) -> Double { low + (high - low) * random.unit() }

    private func available(_ processes: [ClusterProcess]) -> [ClusterProcess] {
        processes.filter {
            $0.isRunning && !busy.contains(ObjectIdentifier($0)) && !gone.contains(ObjectIdentifier($0))
        }
    }

    private var staying: [ClusterProcess] {
        cluster.shards.filter { !leaving.contains(ObjectIdentifier($0)) && !gone.contains(ObjectIdentifier($0)) }
    }

    private var present: [ClusterProcess] { cluster.shards.filter { !gone.contains(ObjectIdentifier($0)) } }

    private var employed: [ClusterProcess] { cluster.workers.filter { !gone.contains(ObjectIdentifier($0)) } }

    private var coordinators: [ClusterProcess] { [cluster.coordinator].compactMap(\.self) }

    // MARK: - Harm

    private func perform(_ fault: ChaosFault) throws {
        report.faults[fault, default: 0] += 1
        if report.steps.first < 0 { report.steps.first = last?.committed ?? -1 }
        report.steps.last = last?.committed ?? -1
        switch fault {
        case .killWorker: try killOne(of: cluster.workers)
        case .killShard: try killOne(of: cluster.shards)
        case .killCoordinator: try killOne(of: coordinators)
        case .killEverything: killEverything()
        case .stopWorker: try stopOne(of: cluster.workers, between(0.1, 0.5) * options.lease)
        case .stopShard: try stopOne(of: cluster.shards, between(0.1, 0.5) * options.lease)
        case .stopCoordinator: try stopOne(of: coordinators, between(0.1, 0.5) * options.lease)
        case .stopWorkerPastLease: try stopOne(of: cluster.workers, options.lease * between(1.3, 2))
        case .stopShardPastLease: try stopOne(of: cluster.shards, options.lease * between(1.3, 2))
        case .stopCoordinatorPastLease: try stopOne(of: coordinators, options.lease * between(1.3, 2))
        case .restartWorker: try restartWorker()
        case .killDuringCheckpoint: try killDuringCheckpoint()
        case .killDuringMove: try killDuringMove()
        case .killDuringRestart: try killDuringRestart()
        }
    }

    /// Waits for one of the processes to be there, at most until a lease and a restart have passed.
    private func victim(of processes: [ClusterProcess]) throws -> ClusterProcess? {
        let end = Date(timeIntervalSinceNow: 3 * options.lease + 5)
        while available(processes).isEmpty && Date() < end { try pause(0.02) }
        return pick(available(processes))
    }

    private func killOne(of processes: [ClusterProcess], _ circumstance: String = "") throws {
        guard let process = try victim(of: processes) else { return note("nobody to kill") }
        let seconds = between(0, 1.2)
        process.kill()
        note("kill -9 \(process.name)\(circumstance), again in \(String(format: "%.1f", seconds)) s")
        startLater(process, after: seconds)
    }

    private func killEverything(_ circumstance: String = "") {
        note("kill -9 everything\(circumstance)")
        var all = cluster.processes.filter { !gone.contains(ObjectIdentifier($0)) }
        all.shuffle(using: &random)
        for process in all {
            process.kill()
            if !busy.contains(ObjectIdentifier(process)) { startLater(process, after: between(0.1, 1)) }
        }
    }

    private func stopOne(of processes: [ClusterProcess], _ seconds: Double) throws {
        guard let process = try victim(of: processes) else { return note("nobody to stop") }
        process.suspend()
        note("SIGSTOP \(process.name) for \(String(format: "%.1f", seconds)) s")
        busy.insert(ObjectIdentifier(process))
        later(seconds) { [self] in
            busy.remove(ObjectIdentifier(process))
            process.resume()
        }
    }

    private func restartWorker() throws {
        guard let process = try victim(of: cluster.workers) else { return note("no worker to end") }
        note("SIGTERM \(process.name), another starts")
        dismiss(process)
        try cluster.addWorker()
    }

    /// Ends a worker for good.
    private func dismiss(_ worker: ClusterProcess) {
        gone.insert(ObjectIdentifier(worker))
        worker.terminate()
    }

    /// One of the coordinator, a shard, a worker, or all of them.
    private func killSomething(_ circumstance: String) throws {
        switch random.below(8) {
        case 0..<3: try killOne(of: cluster.shards, circumstance)
        case 3..<5: try killOne(of: coordinators, circumstance)
        case 5..<7: try killOne(of: cluster.workers, circumstance)
        default: killEverything(circumstance)
        }
    }

    private func killDuringCheckpoint() throws {
        _ = try wait(20) { $0.state == "training" }
        // A shard that is held for a moment keeps the checkpoint from being over before it is seen.
        if random.below(2) == 0 { try stopOne(of: cluster.shards, between(0.1, 0.4)) }
        try cluster.order("checkpoint")
        let seen = try wait(3) { $0.isWritingCheckpoint }
        if seen { report.met[.killDuringCheckpoint, default: 0] += 1 }
        try killSomething(seen ? " during a checkpoint" : " after a checkpoint was ordered")
    }

    private func killDuringMove() throws {
        _ = try wait(20) { $0.state == "training" }
        if staying.count < options.mostShards && (staying.count < 2 || random.below(2) == 0) {
            try perform(.addShard, counted: false)
        } else {
            try perform(.drainShard, counted: false)
        }
        var seen = try wait(8) { $0.isMoving }
        if seen {
            try pause(between(0, 0.3))
            seen = (try? cluster.status(seconds: 0.5))?.isMoving ?? false
        }
        if seen { report.met[.killDuringMove, default: 0] += 1 }
        try killSomething(seen ? " while slices move" : " after a move")
    }

    private func killDuringRestart() throws {
        guard let coordinator = try victim(of: coordinators) else { return }
        coordinator.kill()
        busy.insert(ObjectIdentifier(coordinator))
        try pause(between(0, 0.5))
        busy.remove(ObjectIdentifier(coordinator))
        try coordinator.start()
        note("kill -9 coordinator, started again")
        try pause(between(0, 0.4))
        report.met[.killDuringRestart, default: 0] += 1
        try killSomething(" while the coordinator restarts")
    }

    // MARK: - Changes

    private func perform(_ change: ChaosChange, counted: Bool = true) throws {
        var change = change
        // What is not possible now becomes its opposite.
        switch change {
        case .addShard where present.count >= options.mostShards: change = .drainShard
        case .drainShard where staying.count < 2, .terminateShard where staying.count < 2: change = .addShard
        case .addWorker where employed.count >= options.mostWorkers: change = .removeWorker
        case .removeWorker where employed.count < 2: change = .addWorker
        default: break
        }
        if counted { report.changes[change, default: 0] += 1 }
        switch change {
        case .addShard:
            let process = try cluster.addShard()
            note("\(process.name) joins")
        case .drainShard:
            guard let process = pick(available(staying)), let name = names[ObjectIdentifier(process)] else {
                return note("no shard to drain")
            }
            leaving.insert(ObjectIdentifier(process))
            note("drain \(name), \(process.name)")
            try cluster.order("drain", [name])
        case .terminateShard:
            guard let process = pick(available(staying)) else { return note("no shard to end") }
            leaving.insert(ObjectIdentifier(process))
            note("SIGTERM \(process.name)")
            process.terminate()
        case .addWorker:
            let process = try cluster.addWorker()
            note("\(process.name) joins")
        case .removeWorker:
            guard let process = pick(available(employed)) else { return note("no worker to end") }
            note("SIGTERM \(process.name)")
            dismiss(process)
        case .checkpoint:
            note("checkpoint")
            try cluster.order("checkpoint")
        case .rebalance:
            note("rebalance")
            try cluster.order("rebalance")
        }
    }
}
