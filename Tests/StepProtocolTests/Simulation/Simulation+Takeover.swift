internal import Cluster
internal import Determinism
internal import StepProtocol

/// A standby takes over while the coordinator before it still lives: some members hear that one for a while.
///
/// The standby has every decision that was announced (`Replication`). Nothing that the old one decides takes effect any more; it still says
/// what it has decided before.
final class FormerCoordinator {
    let process: CoordinatorProcess
    /// It has decided something that its standby does not acknowledge.
    var isStuck = false
    let until: Int64
    /// Which start of a coordinator it is.
    let start: UInt64

    init(_ process: CoordinatorProcess, start: UInt64, until: Int64) {
        (self.process, self.start, self.until) = (process, start, until)
    }
}

extension Simulation {
    func takeOver() {
        if isCalm || isFinished { return }
        queue.insert(.takeover, at: now + 1 + Int64(takeoverRandom.below(5_000)))
        guard let old = coordinator, old.adoption == nil, database.record?.owners.isEmpty == false else { return }
        faults["a standby takes over", default: 0] += 1
        note("FAULT a standby takes over")
        former = FormerCoordinator(old, start: coordinatorStarts, until: now + Int64(takeoverRandom.below(6_000)))
        startAfterTakeover = coordinatorStarts + 1
        stopCoordinator()
        queue.insert(.startCoordinator, at: now + 1 + Int64(takeoverRandom.below(2_000)))
    }

    /// The coordinator, by the number of its start, that somebody who sends now talks to.
    var coordinatorHeard: UInt64 {
        guard let former, former.until > now, !isCalm else {
            former = nil
            return coordinatorStarts
        }
        // In between there is no other.
        return coordinator == nil || takeoverRandom.below(2) == 0 ? former.start : coordinatorStarts
    }

    /// Whether a message was sent to a coordinator that another one has taken over from: a connection leads to one process.
    func isForFormer(_ start: UInt64) -> Bool { start < startAfterTakeover }

    func tellFormer(_ message: Message, from sender: Int, _ start: UInt64) {
        guard let former, former.until > now, former.start == start, former.process.greeted.contains(sender),
            let event = event(of: message, from: sender)
        else { return }
        let actions = former.process.machine.handle(event, at: instant)
        for action in actions where !former.isStuck {
            switch action {
            case .persist(let decision): former.isStuck = decision.mustBeDoubled
            case .send(_, let peer, let plan): send(.plan(plan), from: 0, to: peer.process)
            default: break
            }
        }
    }

    private func event(of message: Message, from sender: Int) -> CoordinatorMachine.Event? {
        let peer = PeerID(process: sender)
        return switch message {
        case .heartbeat(let member, let incarnation, let report, let activity):
            .heartbeat(peer, member, incarnation: incarnation, report: report, activity: activity)
        case .prepared(let member, let incarnation, let id): .prepared(peer, member, incarnation: incarnation, id)
        case .ready(let member, let incarnation): .ready(peer, member, incarnation: incarnation)
        case .report(let member, let incarnation, .done(let result)):
            .stepDone(peer, member, incarnation: incarnation, result)
        case .report(let member, let incarnation, .failed(let id, let code, let message, let shard)):
            .stepFailed(peer, member, incarnation: incarnation, id, code: code, message: message, by: shard)
        case .taskDone(let member, let incarnation, let number, let outcome):
            .taskDone(peer, member, incarnation: incarnation, number: number, outcome)
        default: nil
        }
    }
}
