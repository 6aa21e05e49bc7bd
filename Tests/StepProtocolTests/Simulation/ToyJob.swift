internal import Cluster
internal import StepProtocol

/// One start of a job with a network of its own: what its ranks hold together, and what they exchange among themselves.
///
/// Its parameters take the place of the backbone's in the toy model, so that the undisturbed run is computed in the same way. A rank that
/// is asked again for a step answers with the same inputs: they are a function of the job and the step.
final class ToyJob {
    let id: UInt64
    let worldSize: Int
    /// What it began with.
    let start: Saved
    /// The processes, by rank.
    var nodes: [Int] = []
    private var parameters: [Int: Words] = [:]
    private var posted: [Int: [Int: (feature: UInt64, normalizer: UInt64)]] = [:]
    private let microBatches: Int

    /// A state that a job can be started from.
    struct Saved: Sendable {
        var step = -1
        var past: UInt64 = 0
        var parameters = Words(Toy.initial[(Toy.slices * Toy.rowsPerSlice)...])
    }

    init(id: UInt64, worldSize: Int, start: Saved, microBatches: Int) {
        (self.id, self.worldSize, self.start, self.microBatches) = (id, worldSize, start, microBatches)
        parameters[start.step] = start.parameters
    }

    /// What makes its data differ from those of another start.
    var inputs: UInt64 { Toy.mix(13, id) }

    /// Its parameters after a step that it has done, or began after.
    func parameters(after step: Int) -> Words? { parameters[step] }

    /// A rank has the normalizers of its part of a step: when everyone has, all know the parameters after it.
    func post(_ step: Int, _ range: Range<Int>, features: Words, normalizers: Words) {
        for (position, batch) in range.enumerated() {
            posted[step, default: [:]][batch] = (features[position], normalizers[position])
        }
        guard let before = parameters[step - 1], let all = posted[step], all.count == microBatches else { return }
        let inputs = (0..<microBatches).compactMap { all[$0] }
        let dense = (0..<Toy.denseSlices).map { slice in
            Toy.fold(inputs.map { Toy.denseGradient(normalizer: $0.normalizer, feature: $0.feature, slice: slice) })
        }
        let norm = Toy.norm(replies: dense.map { Toy.mix(9, $0) })
        let centers = Toy.slices * Toy.rowsPerSlice
        parameters[step] = before.indices.map { index in
            Toy.updated(
                parameter: before[index], row: centers + index, gradient: dense[index / Toy.rowsPerSlice], norm: norm)
        }
    }

    /// A step has changed nothing.
    func skip(_ step: Int) { parameters[step] = parameters[step - 1] }
}
