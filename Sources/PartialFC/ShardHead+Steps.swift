internal import CKernels
internal import CenterStore
internal import Determinism
internal import Tensors

extension ShardHead {
    /// What a step needs from begin to commit. `rows` and `momentum` are the gathered copies: the undo record.
    struct StepState {
        var labels: [Int64]
        var microBatchSize: Int
        var microBatchTree: ReductionTree
        /// The slices the step is over, ascending, and the number of sampled rows of each.
        var sliceSet: SliceSet
        var slices: [Int]
        var counts: [Int]
        /// Class ids i64 [S], and the row of each in its slice i64 [S].
        var ids: Tensor
        var places: Tensor
        var rows: Tensor
        var momentum: Tensor
        /// Blocks of a row-wise pass.
        var units: [Unit]
        var sampled: SampledRows
        /// H [S, D], once differentiated, and what it is from.
        var gradient: Tensor?
        var inputs: StepInputs?
        /// In a replay: which of the rows are ahead of the step, and keep their values. Empty if none is.
        var ahead: [Bool] = []
    }

    /// Some of the rows of one slice.
    struct Unit {
        /// Position of the slice in the step.
        var position: Int
        /// Rows among the S of the step.
        var rows: Range<Int>
    }

    /// Rows that one block of a row-wise pass handles.
    static let chunk = 128

    /// Calls `body(unit, thread)` for every block of rows of `step`.
    func forEachUnit(of step: StepState, _ body: @Sendable (_ unit: Unit, _ thread: Int) -> Void) {
        blocks.parallel.forEach(step.units.count) { index, thread in body(step.units[index], thread) }
    }

    /// The memory of the slices of `step`, by position.
    func memory(of slices: [Int]) throws(HeadError) -> [HeldSlice] {
        var memory: [HeldSlice] = []
        for slice in slices {
            guard let held = table.memory(of: slice) else {
                throw HeadError(.centers, "slice \(slice) is not held here: this shard has slices \(table.slices)")
            }
            memory.append(held)
        }
        return memory
    }

    func scaleOverBatch(_ step: StepState) -> Double { configuration.scale / Double(step.labels.count) }

    func expect(_ phases: Set<Phase>, _ call: String) throws(HeadError) {
        guard phases.contains(phase) else { throw HeadError(.phase, "\(call) while the step is \(phase.rawValue)") }
    }

    func current(_ call: String) throws(HeadError) -> StepState {
        guard let step else { throw HeadError(.phase, "\(call) between steps: begin comes first") }
        return step
    }

    // MARK: Begin

    /// Samples the classes of `slices` and gathers their rows and momentum.
    func gather(
        step number: Int, microBatchSize: Int, labels: [Int64], slices: SliceSet, sampled: [Int64]?
    ) throws(HeadError) -> StepState {
        guard number >= 0 else { throw HeadError(.malformed, "the step is \(number); steps count from 0") }
        guard microBatchSize > 0, !labels.isEmpty, labels.count % microBatchSize == 0, labels.count <= 1 << 24 else {
            throw HeadError(
                .malformed, "a batch of \(labels.count) samples cannot be cut into micro-batches of \(microBatchSize)")
        }
        try registry.checkLabels(labels[...], first: 0)
        let sliceSet = slices
        let slices = sliceSet.numbers
        let memory = try memory(of: slices)
        let positives = Set(labels).sorted()
        let choices =
            if let sampled {
                try explicitChoices(sampled, positives: positives, slices: slices)
            } else {
                sample(step: number, positives: positives, slices: slices)
            }
        let counts = choices.map(\.ids.count)
        let (total, size) = (counts.reduce(0, +), configuration.embeddingSize)
        let ids = idPool.next(Int64.self, shape: [total])
        let places = placePool.next(Int64.self, shape: [total])
        var units: [Unit] = []
        var offset = 0
        for (position, choice) in choices.enumerated() {
            (ids.pointer(Int64.self) + offset).update(from: choice.ids, count: choice.ids.count)
            (places.pointer(Int64.self) + offset).update(from: choice.rows, count: choice.rows.count)
            let end = offset + choice.ids.count
            for start in stride(from: offset, to: end, by: Self.chunk) {
                units.append(Unit(position: position, rows: start..<min(start + Self.chunk, end)))
            }
            offset = end
        }
        let rows = rowPool.next(Float.self, shape: [total, size])
        let momentum = momentumPool.next(Float.self, shape: [total, size])
        let blockList = units
        blocks.parallel.forEach(blockList.count) { index, _ in
            let (slice, part) = (memory[blockList[index].position], blockList[index].rows)
            let from = places.pointer(Int64.self) + part.lowerBound
            let to = part.lowerBound * size
            pfc_head_gather(slice.rows.base, from, 0, part.count, size, rows.pointer(Float.self) + to)
            pfc_head_gather(slice.momentum.base, from, 0, part.count, size, momentum.pointer(Float.self) + to)
        }
        let part = SampledRows.Part(slices: slices, counts: counts, ids: ids, rows: rows)
        return StepState(
            labels: labels, microBatchSize: microBatchSize,
            microBatchTree: ReductionTree(leafCount: labels.count / microBatchSize), sliceSet: sliceSet, slices: slices,
            counts: counts,
            ids: ids, places: places, rows: rows, momentum: momentum, units: units,
            sampled: SampledRows(layout: layout, embeddingSize: size, parts: [part], parallel: blocks.parallel))
    }

    private func sample(step: Int, positives: [Int64], slices: [Int]) -> [ClassSampler.Choice] {
        let sampler = sampler
        var choices = [ClassSampler.Choice](
            repeating: .init(ids: [], rows: [], evaluations: 0), count: slices.count)
        choices.withUnsafeMutableBufferPointer { buffer in
            let results = Shared(buffer)
            blocks.parallel.forEach(slices.count) { index, _ in
                results.value[index] = sampler.sample(step: step, slice: slices[index], allPositives: positives)
            }
        }
        return choices
    }

    private func explicitChoices(
        _ sampled: [Int64], positives: [Int64], slices: [Int]
    ) throws(HeadError) -> [ClassSampler.Choice] {
        for (a, b) in zip(sampled, sampled.dropFirst()) where a >= b {
            throw HeadError(.malformed, "the sampled classes are not ascending: \(a) comes before \(b)")
        }
        if let first = sampled.first, let last = sampled.last, first < 0 || last >= Int64(registry.classCount) {
            throw HeadError(.malformed, "sampled classes \(first)...\(last) are not in 0..<\(registry.classCount)")
        }
        for positive in positives where !sampled.contains(sorted: positive) {
            throw HeadError(.malformed, "class \(positive) is a label of the batch and not among the sampled classes")
        }
        let active = registry.retired.isEmpty ? sampled : sampled.filter { !registry.isRetired($0) }
        return slices.map { slice in
            let classes = layout.classes(of: slice)
            let rows = classes.rows(ofSorted: active)
            return ClassSampler.Choice(ids: classes.ids(ofRows: rows), rows: rows, evaluations: 0)
        }
    }

    // MARK: Gradients

    func newGradient(rows: Int) -> Tensor {
        gradientPool.next(Float.self, shape: [rows, configuration.embeddingSize])
    }

    /// Checks finished row gradients H.
    func checkFinite(gradient: Tensor, of step: StepState) throws(HeadError) {
        if let position = Payload.firstNonFinite(gradient, parallel: blocks.parallel) {
            let id = step.ids.buffer(Int64.self)[position / configuration.embeddingSize]
            throw HeadError(.notFinite, "the gradient of the center of class \(id) is not finite")
        }
    }

    // MARK: Update

    /// Updates the sampled rows in the table; rows that are ahead of the step keep their values.
    ///
    /// - Throws: `HeadError` if a row would not be finite: nothing has changed then.
    func update(_ step: StepState, learningRate: Float) throws(HeadError) {
        guard learningRate.isFinite, learningRate >= 0 else {
            throw HeadError(.malformed, "the learning rate is \(learningRate); it must be a number from 0 up")
        }
        guard let gradient = step.gradient else { return }
        let memory = try memory(of: step.slices)
        let size = configuration.embeddingSize
        let (momentum, decay) = (Float(configuration.momentum), Float(configuration.weightDecay))
        let scale = scaleOverBatch(step)
        let scratch = blocks.threadScratch(2 * Self.chunk * size)
        let bad = Tensor([Int64](repeating: -1, count: step.units.count))
        blocks.parallel.forEach(step.units.count) { index, thread in
            let (slice, part) = (memory[step.units[index].position], step.units[index].rows)
            let new = scratch[thread].pointer(Float.self)
            let newMomentum = new + part.count * size
            let first = part.lowerBound * size
            let (rows, velocity) = (step.rows.pointer(Float.self), step.momentum.pointer(Float.self))
            pfc_head_update_rows(
                rows + first, velocity + first, gradient.pointer(Float.self) + first, scale, learningRate, momentum,
                decay, part.count, size, new, newMomentum)
            if !step.ahead.isEmpty {
                for row in part where step.ahead[row] {
                    let at = (row - part.lowerBound) * size
                    (new + at).update(from: rows + row * size, count: size)
                    (newMomentum + at).update(from: velocity + row * size, count: size)
                }
            }
            let position = pfc_head_first_nonfinite(new, 2 * part.count * size)
            if position >= 0 {
                bad.mutable(Int64.self)[index] =
                    step.ids.buffer(Int64.self)[part.lowerBound + position / size % part.count]
            }
            let places = step.places.pointer(Int64.self) + part.lowerBound
            pfc_head_scatter(new, places, 0, part.count, size, slice.rows.base)
            pfc_head_scatter(newMomentum, places, 0, part.count, size, slice.momentum.base)
        }
        if let id = bad.array(Int64.self).first(where: { $0 >= 0 }) {
            restore(step)
            throw HeadError(
                .notFinite,
                "the updated center of class \(id) is not finite: lower the learning rate (\(learningRate)) or clip")
        }
    }

    /// Puts the gathered rows and momentum back.
    func restore(_ step: StepState) {
        let size = configuration.embeddingSize
        // A slice with a step under way cannot be removed.
        let memory = step.slices.map { table.memory(of: $0) }
        forEachUnit(of: step) { unit, _ in
            guard let slice = memory[unit.position] else { return }
            let places = step.places.pointer(Int64.self) + unit.rows.lowerBound
            let (first, count) = (unit.rows.lowerBound * size, unit.rows.count)
            pfc_head_scatter(step.rows.pointer(Float.self) + first, places, 0, count, size, slice.rows.base)
            pfc_head_scatter(step.momentum.pointer(Float.self) + first, places, 0, count, size, slice.momentum.base)
        }
    }
}

extension ClassRegistry {
    /// Checks that every label is a class that is not retired; `first` is the place of the first in the batch.
    func checkLabels(_ labels: ArraySlice<Int64>, first: Int) throws(HeadError) {
        for (index, label) in labels.enumerated() where label < 0 || label >= Int64(classCount) {
            throw HeadError(
                .labelOutOfRange,
                "the label of sample \(first + index) of the batch is \(label); it must be in 0..<\(classCount)")
        }
        if retired.isEmpty { return }
        for (index, label) in labels.enumerated() where isRetired(label) {
            throw HeadError(
                .labelOutOfRange,
                "the label of sample \(first + index) of the batch is class \(label), which is retired (class version \(version))"
            )
        }
    }
}

extension ClassSampler {
    init(_ registry: ClassRegistry, _ configuration: HeadConfiguration) {
        self.init(
            layout: registry.layout, retired: registry.retired, seed: configuration.seed,
            sampleRate: configuration.sampleRate)
    }
}
