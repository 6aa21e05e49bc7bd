import Cluster
import Logging
import ProcessSupport
import ShardModel
import StepProtocol

/// Second copies of other shards' slices.
extension ShardService {
    func perform(_ action: Session.Keeper.Action) {
        switch action {
        case .ask(let owner, let request): ask(owner, request)
        case .storeChunk(let slice, let index, let count, let step, let payload):
            let version = session.machine?.plan?.classVersion ?? 0
            apply(slice, then: .stored(slice, index: index)) {
                try $0.keepChunk(slice, index: index, count: count, step: step, payload, classVersion: version)
            }
        case .install(let slice): apply(slice, then: .installed(slice)) { try $0.installCopy(of: slice) }
        case .discard(let slice): attempt("the copy of \(slice) cannot be given up") { try $0.discardCopy(of: slice) }
        case .drop(let slice): attempt("the copy of \(slice) cannot be removed") { try $0.dropCopy(of: slice) }
        }
    }

    private func apply(
        _ slice: SliceName, then event: Session.Keeper.Event, _ body: @escaping @Sendable (ShardEngine) throws -> Void
    ) {
        let figures = figures
        submit(
            { model in
                do { try body(model) } catch {
                    // What was written of it is of no use.
                    try? model.discardCopy(of: slice)
                    throw error
                }
                if case .installed = event { figures.update(model) }
            }, then: .kept(event),
            orElse: { .kept(.failed(slice), problem: "the copy of \(slice) begins anew: \($0)") })
    }

    /// What cannot be removed now is left behind, and swept later.
    private func attempt(_ what: String, _ body: @escaping @Sendable (ShardEngine) throws -> Void) {
        let (box, log) = (model, log)
        compute.submit {
            guard let model = box.model else { return }
            do { try body(model) } catch { log.warning("\(what): \(error)") }
        }
    }
}
