internal import CKernels
internal import CenterStore
internal import Determinism
internal import Tensors

extension ShardHead {
    /// Rows that one block of a row-wise pass handles.
    static let chunk = 128

    func forEachChunk(of count: Int, _ body: @Sendable (Range<Int>, Int) -> Void) {
        blocks.parallel.forEach((count + Self.chunk - 1) / Self.chunk) { index, thread in
            body(index * Self.chunk..<min((index + 1) * Self.chunk, count), thread)
        }
    }

    func scaleOverBatch(_ step: StepState) -> Double { configuration.scale / Double(step.labels.count) }

    func expect(_ phases: Set<Phase>, _ call: String) throws(HeadError) {
        guard phases.contains(phase) else { throw HeadError(.phase, "\(call) while the step is \(phase.rawValue)") }
    }

    func current(_ call: String) throws(HeadError) -> StepState {
        guard let step else { throw HeadError(.phase, "\(call) between steps: begin comes first") }
        return step
    }

    /// Takes the finished row gradients H.
    func finishBackward(_ gradient: Tensor) throws(HeadError) {
        if let position = Payload.firstNonFinite(gradient, parallel: blocks.parallel), let step {
            let id = step.ids.buffer(Int64.self)[position / configuration.embeddingSize]
            throw HeadError(.notFinite, "the gradient of the center of class \(id) is not finite")
        }
        step?.gradient = gradient
        phase = .differentiated
    }

    func newGradient(rows: Int) -> Tensor {
        gradientPool.next(Float.self, shape: [rows, configuration.embeddingSize])
    }

    /// Puts the gathered rows and momentum back.
    func restore(_ step: StepState) {
        let (size, base) = (configuration.embeddingSize, Int64(table.classes.lowerBound))
        forEachChunk(of: step.ids.count) { [tableRows = table.rows, tableMomentum = table.momentum] chunk, _ in
            let ids = step.ids.pointer(Int64.self) + chunk.lowerBound
            let first = chunk.lowerBound * size
            pfc_head_scatter(step.rows.pointer(Float.self) + first, ids, base, chunk.count, size, tableRows.base)
            pfc_head_scatter(
                step.momentum.pointer(Float.self) + first, ids, base, chunk.count, size, tableMomentum.base)
        }
    }

    func sample(step: Int, positives: [Int64]) -> [[Int64]] {
        let sampler = ClassSampler(layout: layout, seed: configuration.seed, sampleRate: configuration.sampleRate)
        let slices = slices
        var choices = [[Int64]](repeating: [], count: slices.count)
        choices.withUnsafeMutableBufferPointer { buffer in
            let results = Shared(buffer)
            blocks.parallel.forEach(slices.count) { index, _ in
                let slice = slices.lowerBound + index
                results.value[index] =
                    sampler.sample(
                        step: step, slice: slice, positives: Self.part(of: positives, in: slice, sampler.layout)
                    ).ids
            }
        }
        return choices
    }

    func explicitChoices(_ sampled: [Int64], positives: [Int64]) throws(HeadError) -> [[Int64]] {
        for (a, b) in zip(sampled, sampled.dropFirst()) where a >= b {
            throw HeadError(.malformed, "the sampled classes are not ascending: \(a) comes before \(b)")
        }
        if let first = sampled.first, let last = sampled.last, first < 0 || last >= Int64(configuration.classCount) {
            throw HeadError(.malformed, "sampled classes \(first)...\(last) are not in 0..<\(configuration.classCount)")
        }
        for positive in positives where !sampled.contains(sorted: positive) {
            throw HeadError(.malformed, "class \(positive) is a label of the batch and not among the sampled classes")
        }
        return slices.map { Array(Self.part(of: sampled, in: $0, layout)) }
    }

    private static func part(of ids: [Int64], in slice: Int, _ layout: SliceLayout) -> ArraySlice<Int64> {
        let classes = layout.classes(of: slice)
        return ids[
            ids.lowerBound(sorted: Int64(classes.lowerBound))..<ids.lowerBound(sorted: Int64(classes.upperBound))]
    }

    /// Checks that every label is a class; `first` is the place of the first in the batch.
    static func checkLabels(_ labels: ArraySlice<Int64>, first: Int, classCount: Int) throws(HeadError) {
        for (index, label) in labels.enumerated() where label < 0 || label >= Int64(classCount) {
            throw HeadError(
                .labelOutOfRange,
                "the label of sample \(first + index) of the batch is \(label); it must be in 0..<\(classCount)")
        }
    }
}
