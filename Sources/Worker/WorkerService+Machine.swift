import Cluster
import Logging
import MemberSupport
import ProcessSupport
import StepProtocol
import Tensors
import Wire

/// What the state machine asks for.
extension WorkerService {
    func perform(_ action: Machine.Action) {
        switch action {
        case .send(let shard, let request): send(request, to: shard)
        case .query(let shard, let request): ask(request, of: shard)
        case .report(let report): send(report)
        case .ask:
            guard let member = session.member else { break }
            coordinator.send(.ready(Ready(member: member, incarnation: incarnation, held: machine?.current)))
        case .compute(let id, let computation): perform(id, computation)
        case .writeResults(let id, let committed):
            guard let model else { break }
            let mailbox = mailbox
            // Behind the computation that installs them.
            compute.submit { mailbox.post(.due(id, committed: committed, model.value.parameters)) }
        case .abandon:
            guard let model else { break }
            compute.submit { model.value.abandon() }
        }
    }

    func send(_ request: StepRequest<[Tensor]>, to shard: MemberID) {
        if case .notWelcomed? = shards[shard]?.send(.stepRequest(request, incarnation: incarnation)) {
            unsent[shard, default: [:]][request.phase] = request
        }
    }

    /// Sends what waited for the handshake with a shard and still belongs to the attempt in hand.
    func flush(_ shard: MemberID) {
        let waiting = unsent.removeValue(forKey: shard) ?? [:]
        for (_, request) in waiting.sorted(by: { $0.key < $1.key }) where request.id == machine?.current {
            send(request, to: shard)
        }
    }

    func send(_ report: WorkerReport) {
        guard let welcome else { return }
        switch report {
        case .done(let result):
            figures.note(result)
            coordinator.send(.stepDone(StepDone(member: welcome.member, incarnation: incarnation, result: result)))
        case .failed(let id, let code, let message, let shard):
            coordinator.send(
                .stepFailed(
                    StepFailed(
                        member: welcome.member, incarnation: incarnation, id: id, code: code, message: message,
                        refusedBy: shard)))
        case .results(let id, let problem): sendResults(id, problem)
        }
    }

    func perform(_ id: StepID, _ computation: WorkerComputation<[Tensor]>) {
        guard let model, let plan = machine?.plan else { return }
        let (shards, head) = (plan.shards, plan.head)
        let mailbox = mailbox
        compute.submit {
            do throws(Refusal) {
                if let result = try model.value.perform(id, computation, shards: shards, head: head) {
                    mailbox.post(.computed(id, result))
                } else if case .install(let committed, _, let after) = computation,
                    let parameters = model.value.parameters
                {
                    mailbox.post(.installed(committed: after?.step ?? committed, parameters))
                }
            } catch {
                mailbox.post(.failed(id, computation.task, error))
            }
        }
    }
}

extension WorkerComputation {
    /// What fails if this computation does.
    var task: WorkerTask {
        switch self {
        case .labels: .labels
        case .embed: .embed
        case .softmax: .softmax
        case .backpropagate: .backpropagate
        case .norm: .norm
        case .install: .install
        }
    }
}
