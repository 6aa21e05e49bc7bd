import Logging
import MemberSupport
import ProcessSupport
import StepProtocol
import Tensors
import Wire

/// What the state machine asks for.
extension ShardService {
    func drive(_ event: Machine.Event) {
        for action in machine?.handle(event, at: now) ?? [] {
            switch action {
            case .reply(let peer, let reply): server.send(.stepReply(reply), to: peer.peer, request: peer.request)
            case .compute(let id, let computation): perform(id, computation)
            }
        }
    }

    func perform(_ id: StepID, _ computation: ShardComputation<[Tensor]>) {
        let (mailbox, box, log) = (mailbox, model, log)
        compute.submit {
            guard let model = box.model else { return }
            do throws(Refusal) {
                if let result = try model.perform(id, computation) { mailbox.post(.computed(id, result)) }
            } catch {
                if let task = computation.task {
                    mailbox.post(.failed(id, task, error))
                } else {
                    log.critical("\(id): \(error.message)")
                    mailbox.post(.stop("its state cannot be trusted"))
                }
            }
        }
    }
}

extension ShardComputation {
    /// What fails if this computation does; nil for those that cannot.
    var task: ShardTask? {
        switch self {
        case .sample: .sample
        case .forward(let rank, _): .forward(rank: rank)
        case .backward: .backward
        case .dense: .dense
        case .update: .update
        case .parameters(let rank): .parameters(rank: rank)
        case .rollback, .commit: nil
        }
    }
}
