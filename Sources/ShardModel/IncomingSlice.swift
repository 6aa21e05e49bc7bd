internal import Model
internal import ParameterStore
internal import Tensors

/// A slice that is being received, or was received and is not owned yet. The rows of centers lie in the head's table.
struct IncomingSlice {
    /// The step that each piece is as of; nil for one that has not come.
    var steps: [Int?]
    /// The step that a slice without pieces is as of.
    var emptyStep: Int?
    /// Of a dense slice: values and momentum.
    var dense: (parameters: Tensor, momentum: Tensor)?
    /// What keeps the copy on disk; nil without a store.
    var receipt: SliceReceipt?
    /// Whether it was handed over: complete on the disk, and never changed again.
    var isHandedOver = false

    var memoryBytes: Int { dense.map { $0.parameters.byteCount + $0.momentum.byteCount } ?? 0 }

    /// The step that the whole copy is as of, nil while pieces are missing or of different steps.
    var completeStep: Int? {
        guard let first = steps.first else { return emptyStep }
        return steps.allSatisfy { $0 == first } ? first : nil
    }

    /// As replays want it: a piece that has not come is not behind anything.
    var ahead: [Int] { steps.map { $0 ?? .max } }

    mutating func advance(to step: Int) {
        steps = steps.map { $0.map { max($0, step) } }
        emptyStep = emptyStep.map { max($0, step) }
    }
}
