import Cluster
import Configuration
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

/// What the session decides is carried out.
extension ShardService {
    /// Tells the session what happened. Returns false when the service ends.
    @discardableResult
    func tell(_ event: Session.Event) -> Bool {
        for action in session.handle(event, at: now) where !carryOut(action) { return false }
        return true
    }

    /// Tells the machine of the steps. Returns false when the service ends.
    @discardableResult
    func drive(_ event: Machine.Event) -> Bool { tell(.step(event)) }

    /// Tells the session what the model, or before there is one the directory, holds.
    @discardableResult
    func tellWhatIsHeld() -> Bool {
        let values = figures.values
        if let news = record.news() {
            hello.record = news
            coordinator.update(hello)
        }
        return tell(.holds(values.state, classVersion: values.classVersion))
            && tell(.keep(.snapshots(oldest: values.snapshotStep)))
    }

    private func carryOut(_ action: Session.Action) -> Bool {
        switch action {
        case .step(let action): perform(action)
        case .copy(let action): perform(action)
        case .keep(let action): perform(action)
        case .greet: coordinator.greet(hello)
        case .introduce:
            hello.introduce(session.introduction)
            coordinator.update(hello)
        case .prepare: return prepare()
        case .rename(let member): rename(member)
        case .beat: beat()
        case .follow(let plan):
            closeUnused()
            let box = model
            compute.submit { box.model?.hear(plan) }
        case .askForClasses: coordinator.send(.readClasses)
        case .adoptClasses: adoptClasses()
        case .askToDrain(let member): ask("drain", member)
        case .askToStay(let member): ask("undrain", member)
        case .note(let isGoing):
            do { try store?.setGoing(isGoing) } catch { log.warning("\(error)") }
        case .giveUp: giveUp()
        case .say(let level, let text): log.log(level: level.logLevel, "\(text)")
        case .leave(let member, let reason, let code):
            let leave = Leave(member: member, incarnation: incarnation, reason: reason, exitCode: Int(code))
            coordinator.send(.leave(leave))
        case .end(let code):
            exitCode = code
            return false
        }
        return true
    }

    private func ask(_ command: String, _ member: MemberID) {
        coordinator.send(.operatorRequest(OperatorRequest(command: command, arguments: ["name": "\(member)"])))
    }

    // MARK: The model

    /// Loads what the directory holds; nothing is served meanwhile.
    ///
    /// Returns false when the service ends.
    private func prepare() -> Bool {
        guard let welcome else { return true }
        let setup: RunSetup
        do { setup = try RunSetup(RunConfiguration(stored: welcome.configuration)) } catch {
            let problem = "the coordinator's configuration cannot be used: \(error)"
            return tell(.notPrepared(problem: problem, isConfiguration: true))
        }
        self.setup = setup
        policy = HandshakePolicy(
            clusterID: welcome.clusterID, embeddingSize: setup.head.embeddingSize,
            classCount: setup.head.classCount, configurationHash: welcome.configurationHash)
        let (mailbox, box, figures, store, threads) = (mailbox, model, figures, store, threads)
        let (gate, memory, options, identity) = (gate, storage.memory, storage.snapshots, identity(welcome))
        let isPooled = storage.isPooled
        compute.submit {
            do {
                try store?.adopt(identity)
                let model = try ShardEngine(
                    setup: setup.shard, store: store, threads: threads, memory: memory, gate: gate, snapshots: options)
                model.member = identity.member
                box.model = model
                figures.update(model)
                mailbox.post(
                    .ready(
                        Session.Prepared(
                            microBatchCount: setup.configuration.microBatchCount, committed: model.committed,
                            prepared: model.prepared, lastTask: model.lastTask,
                            handedOver: Set(model.handedOver.keys), kept: model.keptCopies)))
            } catch {
                // The next server of the pool takes another one.
                if isPooled, let error = error as? CenterStoreError, error.code == .damaged {
                    try? store?.setUnusable(error.message)
                }
                mailbox.post(.notReady(Refusal(error)))
            }
        }
        return true
    }

    private func identity(_ welcome: Welcome) -> ShardStore.Identity {
        ShardStore.Identity(
            clusterID: welcome.clusterID, member: welcome.member.number, configurationHash: welcome.configurationHash)
    }

    private func rename(_ member: MemberID) {
        guard let welcome else { return }
        let (mailbox, store, box, identity) = (mailbox, store, model, identity(welcome))
        compute.submit {
            box.model?.member = member.number
            do { try store?.adopt(identity) } catch { mailbox.post(.broken("\(error)")) }
        }
    }

    func noteReady(_ found: Session.Prepared) {
        let (restoring, bytes) = (figures.values.restoring, figures.values.memoryBytes)
        log.info(
            "ready: \(Units.bytes(bytes)) after step \(found.prepared?.step ?? found.committed), loaded in \(Units.fixed(restoring.loadSeconds, 2)) s, \(restoring.replayedSteps) steps replayed in \(Units.fixed(restoring.replaySeconds, 2)) s"
        )
    }

    private func adoptClasses() {
        guard let list = classList else { return }
        let (mailbox, box, figures) = (mailbox, model, figures)
        compute.submit {
            guard let model = box.model else { return }
            do {
                try model.setClasses(operationsJSON: list.operations)
                figures.update(model)
                mailbox.post(.classesKnown)
            } catch { mailbox.post(.broken("the classes cannot be used: \(error)")) }
        }
    }

    /// Leaves the directory empty.
    private func giveUp() {
        guard let store else { return }
        let (mailbox, figures, record) = (mailbox, figures, record)
        compute.submit {
            do {
                try store.giveEverythingUp()
                record.clear()
                figures.update(store.state)
                mailbox.post(.gaveUp(problem: nil))
            } catch { mailbox.post(.gaveUp(problem: "\(error)")) }
        }
    }
}

extension ShardService.Session {
    /// What a process begins with.
    init(store: ShardStore?) {
        let nothing = ShardState(newest: -1, oldest: 0, logsSteps: false, hasSlices: false)
        self.init(
            Introduction(
                cluster: store?.identity?.clusterID ?? "", previousNumber: store?.identity?.member,
                state: store?.state ?? nothing),
            directory: store.map {
                Directory(holdsSlices: $0.holdsSlices, ownsSlices: !$0.owned.isEmpty, isGoing: $0.isGoing)
            }, empty: [])
    }
}

extension Hello {
    /// By this the coordinator knows the shard again.
    mutating func introduce(_ introduction: ShardService.Session.Introduction) {
        clusterID = introduction.cluster
        previousNumber = introduction.previousNumber ?? -1
        state = introduction.state
        (term, coordinator) = (introduction.term, introduction.coordinator)
    }
}
