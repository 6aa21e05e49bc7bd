import Cluster
import Logging
import MemberSupport
import StepProtocol
import Tensors
import Wire

/// What the session decides is carried out.
extension WorkerService {
    /// Tells the session what happened.
    ///
    /// Returns false when the service ends.
    @discardableResult
    func tell(_ event: Session.Event) -> Bool {
        for action in session.handle(event, at: now) where !carryOut(action) { return false }
        return true
    }

    /// Tells the machine of the steps.
    func drive(_ event: Machine.Event) { tell(.step(event)) }

    private func carryOut(_ action: Session.Action) -> Bool {
        switch action {
        case .step(let action): perform(action)
        case .greet: coordinator.greet(hello)
        case .introduce:
            hello.introduce(session.introduction)
            coordinator.update(hello)
        case .prepare:
            guard let welcome else { return true }
            do { try prepare(welcome) } catch { return tell(.prepared(problem: "\(error)")) }
            return tell(.prepared(problem: nil))
        case .beat: beat()
        case .disconnect: for shard in shards.keys { disconnect(shard) }
        case .follow(let plan):
            noteBeginning(plan)
            connect(plan)
            if let member = session.member, let rank = plan.ranks.firstIndex(where: { $0.worker == member }) {
                self.rank = rank
            }
        case .askForClasses: coordinator.send(.readClasses)
        case .adoptClasses(let version, let id): return adoptClasses(version, id)
        case .say(let level, let text):
            progress.interrupt()
            log.log(level: level.logLevel, "\(text)")
        case .leave(let member, let reason, let code):
            progress.interrupt()
            trace?.clear()  // the coordinator knows that this process is gone
            let leave = Leave(member: member, incarnation: incarnation, reason: reason, exitCode: Int(code))
            coordinator.send(.leave(leave))
        case .end(let code):
            exitCode = code
            return false
        }
        return true
    }
}

extension WorkerSession.Welcome {
    /// What the session must know of a welcome.
    init(_ welcome: Wire.Welcome) {
        self.init(
            cluster: welcome.clusterID, member: welcome.member, committed: welcome.committed,
            hasCheckpoint: !welcome.checkpoint.isEmpty)
    }
}

extension Hello {
    /// By this a coordinator that was started again knows the worker.
    fileprivate mutating func introduce(_ introduction: WorkerSession<[Tensor]>.Introduction) {
        clusterID = introduction.cluster
        previousNumber = introduction.previousNumber ?? -1
        (term, coordinator) = (introduction.term, introduction.coordinator)
    }
}
