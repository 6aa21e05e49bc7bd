import CenterStore
import Logging
import MemberSupport
import PartialFC
import ProcessSupport
import RunConfiguration
import RunSetup
import ShardState
import StepProtocol
import Tensors
import Wire

/// What the coordinator says, and what it is told.
extension ShardService {
    // MARK: Joining

    func join(_ welcome: Welcome) -> Bool {
        if let known = self.welcome, known.clusterID != welcome.clusterID {
            log.error(
                "the coordinator now runs cluster \(welcome.clusterID), this shard holds a part of \(known.clusterID)")
            exitCode = 70
            return false
        }
        let isNewNumber = self.welcome.map { $0.member != welcome.member } ?? true
        if setup == nil {
            do {
                let setup = try RunSetup(RunConfiguration(yaml: welcome.configuration))
                self.setup = setup
                policy = HandshakePolicy(
                    clusterID: welcome.clusterID, embeddingSize: setup.head.embeddingSize,
                    classCount: setup.head.classCount,
                    configurationHash: welcome.configurationHash)
            } catch {
                log.error("the coordinator's configuration cannot be used: \(error)")
                exitCode = 78
                return false
            }
        }
        if self.welcome != nil, isNewNumber, figures.state.hasSlices {
            log.error(
                "the coordinator has given this shard up and calls it \(welcome.member) now: what it holds is of no use. Start it anew"
            )
            exitCode = 77
            return false
        }
        self.welcome = welcome
        hello.clusterID = welcome.clusterID
        hello.previousNumber = welcome.member.number
        log.info("joined cluster \(welcome.clusterID) as \(welcome.member)")
        if isNewNumber { makeState(welcome) }
        beat()
        return true
    }

    /// Has the state made that the directory describes, under the number that the coordinator gave.
    private func makeState(_ welcome: Welcome) {
        guard let setup else { return }
        (machine, receiver) = (nil, nil)
        let identity = ShardStore.Identity(
            clusterID: welcome.clusterID, member: welcome.member.number, configurationHash: welcome.configurationHash)
        let (mailbox, box, threads, gate, options) = (mailbox, box, threads, gate, durability.snapshots)
        compute.submit {
            do {
                box.model = nil
                if let store = box.store {
                    if store.identity != identity, store.owned.isEmpty {
                        try store.forgetReceived(store.received.map(\.slice))
                    }
                    try store.adopt(identity)
                }
                let model = try ShardModel(
                    setup: setup, store: box.store, threads: threads, gate: gate, snapshots: options)
                box.model = model
                mailbox.post(.ready(.success(ModelFigures(model))))
            } catch {
                let code = (error as? CenterStoreError)?.exitCode ?? 70
                mailbox.post(.ready(.failure(StartProblem(message: "\(error)", exitCode: code))))
            }
        }
    }

    /// The state is made: the machines can begin.
    func begin(_ result: Result<ModelFigures, StartProblem>) -> Bool {
        guard let welcome, let setup else { return true }
        switch result {
        case .failure(let problem):
            log.error("the state cannot be made: \(problem.message)")
            exitCode = problem.exitCode
            return false
        case .success(let figures):
            note(figures)
            machine = Machine(
                member: welcome.member, microBatchCount: setup.configuration.microBatchCount,
                committed: figures.committed, prepared: figures.prepared, lastTask: figures.lastTask,
                holdsSlices: figures.state.hasSlices, empty: [])
            receiver = Receiver(
                member: welcome.member, completedTask: figures.lastTask, handedOver: figures.handedOver)
            let restoring = figures.restoring
            log.info(
                "ready: \(Units.bytes(figures.memoryBytes)), step \(figures.committed); loaded in \(Units.fixed(restoring.loadSeconds, 2)) s, replayed \(restoring.replayedSteps) steps in \(Units.fixed(restoring.replaySeconds, 2)) s"
            )
            beat()
            return plan.map(follow) ?? true
        }
    }

    func hear(_ refusal: Refusal) -> Bool {
        if refusal.code == .drained {
            log.info("\(refusal.message)")
            exitCode = 0
            return false
        }
        log.error("the coordinator refused this shard: \(refusal.message)")
        exitCode = 77
        return false
    }

    func receive(_ message: WireMessage) -> Bool {
        switch message {
        case .plan(let plan): return follow(plan)
        case .classes(let list): takeOver(list)
        case .operatorReply(let reply): return hear(reply)
        case .refused(let refusal):
            if refusal.code == .drained { return hear(refusal) }
            log.warning("the coordinator refused a message: \(refusal.message)")
            if refusal.code == .incarnation || refusal.code == .notWelcomed { coordinator.greet(hello) }
        default: break
        }
        return true
    }

    // MARK: Plans

    func follow(_ new: Plan) -> Bool {
        guard let setup else { return true }
        if let misfit = setup.misfit(of: new) {
            log.error("the coordinator's plan does not fit its configuration: \(misfit)")
            exitCode = 70
            return false
        }
        if let plan, !new.supersedes(plan) { return true }
        plan = new
        guard machine != nil, knowsClasses(of: new) else { return true }
        if new.safe != notedSafe {
            notedSafe = new.safe
            let box = box
            compute.submit { box.model?.noteSafe(new.safe) }
        }
        drive(.plan(new))
        tell(.plan(new))
        closeIdleConnections(new)
        // The coordinator waits for the word that the last step is committed everywhere.
        if new.activity == .finished, let machine, machine.committed != reportedStep { beat() }
        return true
    }

    /// A shard that owns nothing must hear what became of the classes before it takes slices up.
    private func knowsClasses(of plan: Plan) -> Bool {
        if figures.ownsSlices || figures.state.hasSlices || figures.classVersion == plan.classVersion { return true }
        if askedClasses != plan.classVersion {
            askedClasses = plan.classVersion
            coordinator.send(.readClasses)
        }
        return false
    }

    private func takeOver(_ list: ClassList) {
        let (mailbox, box) = (mailbox, box)
        compute.submit {
            guard let model = box.model else { return }
            do {
                try model.setClasses(operationsJSON: list.operations)
                mailbox.post(.figures(ModelFigures(model)))
                mailbox.post(.classes(list.version))
            } catch { mailbox.post(.fail("the coordinator's classes cannot be used: \(error)", code: 70)) }
        }
    }

    // MARK: Heartbeats

    /// Keeps what the next greeting says in step with the model.
    func note(_ new: ModelFigures) {
        if !new.snapshotProblem.isEmpty, new.snapshotProblem != figures.snapshotProblem {
            log.warning("the snapshot was given up, and is tried again: \(new.snapshotProblem)")
        }
        figures = new
        hello.state = new.state
        coordinator.update(hello)
    }

    func beat() {
        let interval = Duration.milliseconds(welcome?.heartbeatMilliseconds ?? 1000)
        nextHeartbeat = .now + interval
        let (mailbox, box) = (mailbox, box)
        // What was synced meanwhile is seen by the next heartbeat.
        compute.submit { if let model = box.model { mailbox.post(.figures(ModelFigures(model))) } }
        guard let welcome, coordinator.isWelcomed else { return }
        if leaving?.deadline != nil { askToDrain(welcome.member) }
        if askedClasses != nil { coordinator.send(.readClasses) }
        var statistics: [String: Double] = [
            "memory_bytes": Double(figures.memoryBytes),
            "resident_bytes": Double(ProcessMemory.residentBytes),
            "peak_resident_bytes": Double(ProcessMemory.peakResidentBytes),
            "refused": Double(server.counters.rejectedTotal),
            "log_bytes": Double(figures.logBytes), "snapshot_step": Double(figures.snapshotStep),
            "load_seconds": figures.restoring.loadSeconds, "replay_seconds": figures.restoring.replaySeconds,
            "replayed_steps": Double(figures.restoring.replayedSteps),
        ]
        var report: ShardReport?
        // Before the state is made there is nothing to report: the greeting has said what the directory holds.
        if let machine {
            reportedStep = machine.committed
            statistics["committed"] = Double(reportedStep)
            report = ShardReport(
                committed: reportedStep, durable: figures.durable, received: receiver?.received ?? [:],
                obstacle: gate.obstacle)
        }
        coordinator.send(
            .heartbeat(
                Heartbeat(member: welcome.member, incarnation: incarnation, statistics: statistics, report: report)))
    }
}
