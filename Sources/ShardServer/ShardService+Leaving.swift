import Logging
import StepProtocol
import Wire

/// The end of the process.
extension ShardService {
    /// A shard that is asked to end hands its slices over first, if there is a run that needs them.
    func stopping(_ reason: String) -> Bool {
        guard reason == "SIGTERM", leaving == nil, isNeeded, let welcome, coordinator.isWelcomed else {
            leaveAtOnce(reason)
            return false
        }
        log.info("\(reason): handing the slices over; another one ends the process at once")
        leaving = Leaving(reason: reason, deadline: .now + .seconds(2))
        askToDrain(welcome.member)
        return true
    }

    private var isNeeded: Bool {
        guard let plan, machine?.ownsSlices == true else { return false }
        switch plan.activity {
        case .train, .wait, .task: return true
        case .finished, .failed: return false
        }
    }

    func askToDrain(_ member: MemberID) {
        coordinator.send(.operatorRequest(OperatorRequest(command: "drain", arguments: ["name": "\(member)"])))
    }

    func hear(_ reply: OperatorReply) -> Bool {
        guard let leaving, leaving.deadline != nil else { return true }
        if reply.exitCode == 0 {
            self.leaving?.deadline = nil
            return true
        }
        leaveAtOnce("\(leaving.reason); the slices stay: \(reply.json)")
        return false
    }

    func leaveAtOnce(_ reason: String) {
        log.info("stopping: \(reason)")
        guard let welcome else { return }
        coordinator.send(.leave(Leave(member: welcome.member, incarnation: incarnation, reason: reason)))
    }
}
