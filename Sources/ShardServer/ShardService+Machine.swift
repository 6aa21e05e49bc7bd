import Cluster
import Logging
import MemberSupport
import Model
import ProcessSupport
import ShardModel
import StepProtocol
import Tensors
import Wire

/// What the state machine of the steps asks for.
extension ShardService {
    func perform(_ action: Machine.Action) {
        switch action {
        case .reply(let peer, let reply): send(reply, to: peer)
        case .compute(let id, .task(let task)): perform(id, task)
        case .compute(let id, let computation): perform(id, computation)
        case .transfer(let peer, let request): give(request, to: peer)
        case .acknowledge(let number, let outcome):
            guard let member = session.member else { return }
            var done = TaskDone(member: member, incarnation: incarnation, number: number, outcome: outcome)
            if case .unencodable(let error) = coordinator.send(.taskDone(done)) {
                log.error("task \(number) is done, and what came of it cannot be sent: \(error)")
                done.outcome = .failed(message: "it is done, and what came of it cannot be sent: \(error)")
                coordinator.send(.taskDone(done))
            }
        case .prepared(let id):
            guard let member = session.member else { return }
            coordinator.send(.stepPrepared(StepPrepared(member: member, incarnation: incarnation, id: id)))
        case .report, .askForPlan: beat()
        }
    }

    private func perform(_ id: StepID, _ computation: ShardComputation<[Tensor]>) {
        // What waits for the disk must hear of it before it is its turn.
        if case .rollback = computation { gate.cancel(id) }
        let (mailbox, box, figures, plan) = (mailbox, model, figures, machine?.plan)
        compute.submit {
            guard let model = box.model else { return }
            do throws(Refusal) {
                let result = try model.perform(id, computation, plan: plan)
                figures.update(model)
                if let result { mailbox.post(.computed(id, result)) }
            } catch {
                figures.update(model)
                if model.isLogLost {
                    mailbox.post(.broken(model.diskProblem))
                } else if let task = computation.task {
                    let ranks = error.code == .notFinite ? computation.ranksNotFinite : []
                    mailbox.post(.failed(id, task, error, blaming: ranks))
                } else {
                    mailbox.post(.broken("\(id): \(error.message); its state cannot be trusted"))
                }
            }
        }
    }

    private func perform(_ id: StepID, _ task: BoundaryTask) {
        guard let plan = machine?.plan else { return }
        let (mailbox, box, figures, record) = (mailbox, model, figures, record)
        compute.submit {
            guard let model = box.model else { return }
            do {
                let outcome = try model.perform(task, plan: plan)
                if case .classes(let operation) = task.kind, case .done = outcome {
                    record.note(operation, version: model.classVersion, after: task.step)
                }
                figures.update(model)
                mailbox.post(.taskDone(number: task.number, outcome))
            } catch { mailbox.post(.broken("task \(task.number): \(error); its state cannot be trusted")) }
        }
    }

    /// Answers another shard that receives a slice of this one.
    private func give(_ request: TransferRequest, to peer: StepPeer) {
        let key = QueuedAnswers.Key.part(request)
        guard !queued.contains(key, for: peer.peer, waiting: server.waitingByteCount(for: peer.peer)) else { return }
        queued.insert(key, for: peer.peer)
        let (mailbox, box, version) = (mailbox, model, session.machine?.plan?.classVersion)
        compute.submit {
            guard let model = box.model else { return }
            do {
                let content = try model.content(of: request, classVersion: version)
                let reply = TransferReply(slice: request.slice, part: request.part, content: content)
                mailbox.post(.answer(peer, .success(.transferReply(reply))))
            } catch { mailbox.post(.answer(peer, .failure(Refusal(error)))) }
        }
    }
}

extension ShardComputation {
    /// What fails if this computation does; nil for those that cannot.
    var task: ShardTask? {
        switch self {
        case .sample: .sample
        case .forward(let rank, _, _): .forward(rank: rank)
        case .backward: .backward
        case .dense: .dense
        case .update: .update
        case .parameters(let rank): .parameters(rank: rank)
        case .rollback, .commit, .own, .task: nil
        }
    }
}
