internal import ParameterStore

/// A slice that is being received, or was received and is not owned yet. Its numbers lie where those of its kind are held.
struct IncomingSlice {
    /// The step that each piece is as of; nil for one that has not come.
    var steps: [Int?]
    /// The step that a slice without pieces is as of.
    var emptyStep: Int?
    /// What keeps the copy on disk; nil without a store.
    var receipt: SliceReceipt?
    /// Whether it was handed over: complete on the disk, and never changed again.
    var isHandedOver = false

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
