import CenterStore
import Logging
import ProcessSupport
import ShardState
import StepProtocol
import Tensors
import Wire

/// What the state machine asks for.
extension ShardService {
    func drive(_ event: Machine.Event) {
        let taken = machine?.handle(event, at: now)
        for action in taken ?? [] {
            switch action {
            case .reply(let peer, let reply): server.send(.stepReply(reply), to: peer.peer, request: peer.request)
            case .compute(_, .task(let task)): perform(task)
            case .compute(let id, let computation): perform(id, computation)
            case .transfer(let peer, let request): give(request, to: peer)
            case .acknowledge(let number, let outcome):
                guard let welcome else { continue }
                coordinator.send(
                    .taskDone(
                        TaskDone(
                            member: welcome.member, incarnation: incarnation, number: number, outcome: outcome)))
            }
        }
    }

    private func perform(_ id: StepID, _ computation: ShardComputation<[Tensor]>) {
        // An update that waits for the disk is not needed any more.
        if case .rollback = computation { gate.cancel(id) }
        let (mailbox, box, log, plan) = (mailbox, box, log, machine?.plan)
        compute.submit {
            guard let model = box.model else { return }
            do throws(Refusal) {
                let result = try model.perform(id, computation, plan: plan)
                switch computation {
                case .update, .commit, .rollback, .own: mailbox.post(.figures(ModelFigures(model)))
                default: break
                }
                if let result { mailbox.post(.computed(id, result)) }
            } catch {
                if let task = computation.task {
                    mailbox.post(.failed(id, task, error))
                } else {
                    log.critical("\(id): \(error.message)")
                    mailbox.post(.fail("its state cannot be trusted", code: 70))
                }
            }
        }
    }

    private func perform(_ task: BoundaryTask) {
        guard let plan = machine?.plan else { return }
        let (mailbox, box) = (mailbox, box)
        log.info("task \(task.number) at step \(task.step): \(task.kind.name)")
        compute.submit {
            guard let model = box.model else { return }
            do {
                let outcome = try model.perform(task, plan: plan)
                mailbox.post(.figures(ModelFigures(model)))
                mailbox.post(.taskDone(task.number, outcome))
            } catch {
                let code = (error as? CenterStoreError)?.exitCode ?? 70
                mailbox.post(.fail("task \(task.number): \(error); its state cannot be trusted", code: code))
            }
        }
    }

    // MARK: Slices on their way

    /// Answers another shard, after what was asked for before.
    private func give(_ request: TransferRequest, to peer: StepPeer) {
        answer(peer) { model throws(Refusal) in
            do {
                let content = try model.content(of: request)
                return .transferReply(TransferReply(slice: request.slice, part: request.part, content: content))
            } catch { throw Refusal(.internalError, "\(request.slice): \(error)") }
        }
    }

    /// Tells the receiver, and does what it asks for.
    func tell(_ event: Receiver.Event) {
        let taken = receiver?.handle(event, at: now)
        for action in taken ?? [] {
            switch action {
            case .ask(let owner, let request): ask(owner, request)
            case .complete(let task): drive(.copiesComplete(task: task))
            case .storeChunk(let slice, let index, let count, let step, let payload):
                store(slice, .chunk(index)) { model throws in
                    try model.storeChunk(slice, index: index, count: count, step: step, payload)
                }
            case .replay(let slice, let step, let header, let payload):
                store(slice, .record(after: step - 1)) { model throws in
                    try model.replay(slice, step: step, header: header, payload)
                }
            case .drop(let slice):
                let (mailbox, box) = (mailbox, box)
                compute.submit {
                    do { try box.model?.drop(slice) } catch {
                        mailbox.post(.received(.failed(slice, message: "\(error)")))
                    }
                }
            }
        }
    }

    private func store(
        _ slice: SliceName, _ part: TransferRequest.Part, _ body: @escaping @Sendable (ShardModel) throws -> Void
    ) {
        let (mailbox, box) = (mailbox, box)
        compute.submit {
            guard let model = box.model else { return }
            do {
                try body(model)
                mailbox.post(.received(.stored(slice, part)))
            } catch { mailbox.post(.received(.failed(slice, message: "\(error)"))) }
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
        case .rollback, .commit, .task, .own: nil
        }
    }
}

extension BoundaryTask.Kind {
    /// For people.
    var name: String {
        switch self {
        case .skip: "the step is skipped"
        case .checkpoint(let directory): "checkpoint in \(directory)"
        case .restore(nil): "go back"
        case .restore(let path?): path.isEmpty ? "go back to the beginning" : "restore \(path)"
        case .classes: "the classes change"
        case .handOver(let moves): "hand over \(moves.count) slices"
        }
    }
}
