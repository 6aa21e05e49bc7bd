import Cluster
import Configuration
import Foundation
import Logging
import MemberSupport
import Model
import ParameterStore
import ProcessSupport
import Setup
import ShardModel
import StepProtocol
import Tensors
import Wire

/// What the coordinator says.
extension ShardService {
    func join(_ welcome: Welcome) -> Bool {
        if let known = self.welcome, known.clusterID != welcome.clusterID {
            log.error(
                "the coordinator now runs cluster \(welcome.clusterID), this shard holds a part of \(known.clusterID)")
            return end(70)
        }
        let isFirst = self.welcome == nil
        let isRenamed = self.welcome.map { $0.member != welcome.member } ?? false
        do {
            if isFirst {
                let setup = try RunSetup(RunConfiguration(stored: welcome.configuration))
                self.setup = setup
                policy = HandshakePolicy(
                    clusterID: welcome.clusterID, embeddingSize: setup.head.embeddingSize,
                    classCount: setup.head.classCount, configurationHash: welcome.configurationHash)
            }
        } catch {
            self.welcome = welcome
            return fail("the coordinator's configuration cannot be used: \(error)", 78)
        }
        self.welcome = welcome
        hello.clusterID = welcome.clusterID
        hello.previousNumber = welcome.member.number
        coordinator.update(hello)
        log.info("joined cluster \(welcome.clusterID) as \(welcome.member)")
        if isToStay {
            coordinator.send(
                .operatorRequest(OperatorRequest(command: "undrain", arguments: ["name": "\(welcome.member)"])))
        }
        if isFirst { makeModel(welcome) } else if isRenamed { rename(welcome) }
        beat()
        return true
    }

    private func identity(_ welcome: Welcome) -> ShardStore.Identity {
        ShardStore.Identity(
            clusterID: welcome.clusterID, member: welcome.member.number, configurationHash: welcome.configurationHash)
    }

    /// Loads what the directory holds; nothing is served meanwhile.
    private func makeModel(_ welcome: Welcome) {
        guard let setup else { return }
        let (mailbox, box, figures, store, threads) = (mailbox, model, figures, store, threads)
        let (gate, memory, options, identity) = (gate, storage.memory, storage.snapshots, identity(welcome))
        let isPooled = storage.isPooled
        let member = welcome.member.number
        compute.submit {
            do {
                try store?.adopt(identity)
                let model = try ShardEngine(
                    setup: setup.shard, store: store, threads: threads, memory: memory, gate: gate, snapshots: options)
                model.member = member
                box.model = model
                figures.update(model)
                mailbox.post(
                    .ready(
                        .success(
                            Ready(
                                committed: model.committed, prepared: model.prepared, lastTask: model.lastTask,
                                handedOver: Set(model.handedOver.keys)))))
            } catch {
                // The next server of the pool takes another one.
                if isPooled, let error = error as? CenterStoreError, error.code == .damaged {
                    try? store?.setUnusable(error.message)
                }
                mailbox.post(.ready(.failure(Refusal(error))))
            }
        }
    }

    /// The coordinator had given the old number up, which it only does with a shard that owns nothing.
    private func rename(_ welcome: Welcome) {
        let (mailbox, store, box, identity) = (mailbox, store, model, identity(welcome))
        compute.submit {
            box.model?.member = identity.member
            do { try store?.adopt(identity) } catch { mailbox.post(.broken("\(error)")) }
        }
        guard ready != nil else { return }
        // Under its new number it may own slices of which it has nothing: these are restored, and not taken for the followed step's.
        begin(Ready(committed: -1, prepared: nil, lastTask: 0, handedOver: []))
    }

    func begin(_ ready: Ready) {
        guard let setup, let welcome else { return }
        self.ready = ready
        let values = figures.values
        machine = Machine(
            member: welcome.member, microBatchCount: setup.configuration.microBatchCount, committed: ready.committed,
            prepared: ready.prepared, lastTask: ready.lastTask, holdings: values.state.holdings, empty: [])
        receiver = Receiver(member: welcome.member, completedTask: ready.lastTask, handedOver: ready.handedOver)
        log.info(
            "ready: \(Units.bytes(values.memoryBytes)) after step \(ready.prepared?.step ?? ready.committed), loaded in \(Units.fixed(values.restoring.loadSeconds, 2)) s, \(values.restoring.replayedSteps) steps replayed in \(Units.fixed(values.restoring.replaySeconds, 2)) s"
        )
        updateHello()
        beat()
        resumePlan()
    }

    func receive(_ message: WireMessage) -> Bool {
        switch message {
        case .plan(let plan): return follow(plan)
        case .classes(let list):
            let (mailbox, box, figures) = (mailbox, model, figures)
            compute.submit {
                guard let model = box.model else { return }
                do {
                    try model.setClasses(operationsJSON: list.operations)
                    figures.update(model)
                    mailbox.post(.classesKnown(version: list.version))
                } catch { mailbox.post(.broken("the classes cannot be used: \(error)")) }
            }
        case .operatorReply(let reply):
            guard drainDeadline != nil else {
                // The answer to the wish to stay. A coordinator that knows nothing of the drain refuses it, which is as good.
                if isToStay { setGoing(false) }
                isToStay = false
                break
            }
            // The answer to the wish to be drained.
            drainDeadline = nil
            if reply.exitCode == 0 {
                setGoing(true)
                log.info("handing the slices over")
            } else {
                return leave("nobody can take the slices: \(reply.json)")
            }
        case .refused(let refusal):
            if refusal.code == .drained { return handedOver() }
            log.warning("the coordinator refused a message: \(refusal.message)")
            if refusal.code == .incarnation || refusal.code == .notWelcomed { coordinator.greet(hello) }
        default: break
        }
        return true
    }

    /// Follows the plan once the model is there and knows the plan's classes.
    func follow(_ plan: Plan) -> Bool {
        if let misfit = setup?.misfit(of: plan) {
            return fail("the coordinator's plan does not fit its configuration: \(misfit)", 70)
        }
        if let waiting = waitingPlan, !plan.supersedes(waiting) { return true }
        waitingPlan = plan
        resumePlan()
        // The coordinator waits for the word that the last step is committed everywhere.
        if plan.activity == .finished, let machine, machine.committed != reportedStep { beat() }
        return true
    }

    func resumePlan() {
        guard let plan = waitingPlan, machine != nil else { return }
        let values = figures.values
        // Whoever owns slices learns of operations by tasks and from its log; others ask.
        if plan.classVersion != values.classVersion, machine?.ownsSlices != true, !values.state.hasSlices {
            if askedClasses != plan.classVersion {
                askedClasses = plan.classVersion
                coordinator.send(.readClasses)
            }
            return
        }
        askedClasses = nil
        waitingPlan = nil
        if plan.id.term >= hello.term, plan.id.term != hello.term || plan.coordinator != hello.coordinator {
            (hello.term, hello.coordinator) = (plan.id.term, plan.coordinator)
            coordinator.update(hello)
        }
        let box = model
        compute.submit { box.model?.hear(plan) }
        // What the map gives to this shard is taken over before the receiver drops what it does not need any more.
        drive(.plan(plan))
        receive(Receiver.Event.plan(plan))
    }

    // MARK: Going

    /// SIGTERM: the slices go to other shards first, if the cluster trains and others are there.
    func drain(_ reason: String) -> Bool {
        guard reason == "SIGTERM", drainDeadline == nil, let welcome, coordinator.isWelcomed,
            machine?.ownsSlices == true
        else { return leave(reason) }
        switch machine?.plan?.activity {
        case .finishing, .finished, .failed, nil: return leave(reason)
        case .train, .wait, .task: break
        }
        isToStay = false
        drainDeadline = .now + .seconds(2)
        coordinator.send(
            .operatorRequest(OperatorRequest(command: "drain", arguments: ["name": "\(welcome.member)"])))
        return true
    }

    /// Goes at once. With a directory nothing is lost.
    @discardableResult
    func leave(_ reason: String) -> Bool {
        log.info("stopping: \(reason)")
        if let mine = machine?.plan?.shards.first(where: { $0.shard == welcome?.member }) {
            let moves = machine?.plan?.moves.count { $0.from == mine.shard || $0.to == mine.shard } ?? 0
            log.warning(
                "this shard owns slices \(mine.slices) and dense slices \(mine.denseSlices), which are nowhere else: the cluster waits for it to come back with its directory"
            )
            if moves > 0 { log.warning("\(moves) slices were on their way to or from it; that begins anew") }
        }
        return goodbye(reason, 0)
    }

    /// Ends the process for an error, and tells the coordinator.
    func fail(_ problem: String, _ code: Int32) -> Bool {
        log.critical("\(problem)")
        return goodbye(problem, code)
    }

    /// Tells the coordinator why this shard goes, and ends.
    private func goodbye(_ reason: String, _ code: Int32) -> Bool {
        if let welcome {
            let leave = Leave(
                member: welcome.member, incarnation: incarnation, reason: reason, exitCode: Int(code))
            coordinator.send(.leave(leave))
        }
        return end(code)
    }

    /// Leaves the directory empty, for another shard, and goes.
    func handedOver() -> Bool {
        log.info("every slice is handed over: going")
        guard let store else { return end(0) }
        isHandedOver = true
        // If this process is killed before it has tidied up, the next one knows.
        setGoing(true)
        let mailbox = mailbox
        compute.submit {
            do {
                try store.giveEverythingUp()
                mailbox.post(.tidied(problem: ""))
            } catch { mailbox.post(.tidied(problem: "\(error)")) }
        }
        return true
    }

    /// Whether, after everything is handed over, this is what this process waits for. Nothing else counts any more.
    func isLast(_ event: Event) -> Bool {
        switch event {
        case .tidied(let problem):
            if problem.isEmpty { setGoing(false) } else { log.warning("\(problem)") }
            return true
        case .stop: return true
        default: return false
        }
    }

    /// Notes in the directory whether this process is on its way out.
    private func setGoing(_ isGoing: Bool) {
        do { try store?.setGoing(isGoing) } catch { log.warning("\(error)") }
    }

    /// The coordinator does not know this shard any more. If it owned nothing, or was on its way out, others own everything that is in
    /// its directory: it joins anew, without that.
    ///
    /// - Returns: whether it does.
    func joinAnew() -> Bool {
        guard welcome == nil, let store, store.holdsSlices, store.owned.isEmpty || store.isGoing else { return false }
        do {
            try store.giveEverythingUp()
            try store.setGoing(false)
        } catch {
            log.error("\(error)")
            return false
        }
        isToStay = false
        log.info("what is in \(store.directory) went to other shards: joining without it")
        hello.state = store.state
        figures.update(store.state)
        coordinator.greet(hello)
        return true
    }
}
