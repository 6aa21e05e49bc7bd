internal import CKernels
internal import Cluster
internal import Determinism
internal import Model
internal import ParameterStore
internal import Tensors

extension ShardHead {
    /// What a step needs from begin to commit.
    struct StepState {
        var number: Int
        /// The values of the head in the step.
        var values: HeadValues
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
        /// The gathered rows [S, D] in the format of the table.
        var rows: Tensor
        /// The rows in the format of the exchange, once they are asked for.
        var exchanged: Tensor?
        /// Bytes u8 [S, …] of each plane that the optimiser keeps, as it was, once rows are updated: with `rows` the undo record.
        var oldState: [Tensor]
        /// Blocks of a row-wise pass.
        var units: [Unit]
        var sampled: SampledRows
        /// The cosines of the forward pass, if they are kept.
        var kept: KeptCosines?
        /// What the gradients are from, once differentiated.
        var inputs: StepInputs?
        /// H [S, D] that was computed elsewhere (`rows`).
        var gradient: Tensor?
        /// The learning rate that the table is updated with, once it is.
        var appliedRate: Float?
        /// In a replay: which of the rows are ahead of the step, and keep their values. Empty if none is.
        var ahead: [UInt8] = []

        /// Where the optimiser's planes as they were go, from sampled row `first` on. Whoever uses it keeps the step alive.
        func oldState(_ slice: HeldSlice, from first: Int) -> [UnsafeMutableRawPointer?] {
            oldState.enumerated().map { $1.rawPointer + first * slice.rowByteCounts[$0 + 1] }
        }
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

    func scaleOverBatch(_ step: StepState) -> Double { step.values.scale / Double(step.labels.count) }

    func expect(_ phases: Set<Phase>, _ call: String) throws(HeadError) {
        guard phases.contains(phase) else { throw HeadError(.phase, "\(call) while the step is \(phase.rawValue)") }
    }

    func current(_ call: String) throws(HeadError) -> StepState {
        guard let step else { throw HeadError(.phase, "\(call) between steps: begin comes first") }
        return step
    }

    // MARK: Begin

    /// Samples the classes of `slices` and gathers their rows.
    func gather(
        step number: Int, microBatchSize: Int, labels: [Int64], slices: SliceSet, sampled: [Int64]?,
        values: HeadValues?
    ) throws(HeadError) -> StepState {
        let values = values ?? configuration.values
        if let problem = values.problem {
            throw HeadError(.malformed, "the values of the head in step \(number): \(problem)")
        }
        guard number >= 0 else { throw HeadError(.malformed, "the step is \(number); steps count from 0") }
        guard microBatchSize > 0, !labels.isEmpty, labels.count % microBatchSize == 0, labels.count <= 1 << 24 else {
            throw HeadError(
                .malformed, "a batch of \(labels.count) samples cannot be cut into micro-batches of \(microBatchSize)")
        }
        try registry.checkLabels(labels[...], first: 0, areOptional: configuration.servesJob)
        let sliceSet = slices
        let slices = sliceSet.numbers
        let memory = try memory(of: slices)
        let positives = Set(labels).subtracting([-1]).sorted()
        let choices =
            if let sampled {
                try explicitChoices(sampled, positives: positives, slices: slices)
            } else {
                sample(step: number, rate: values.sampleRate, positives: positives, slices: slices)
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
        let format = configuration.format
        let rows = rowPool.next(format.rows.dtype, shape: [total, size])
        let oldState = format.state.enumerated().map { index, plane in
            statePools[index].next(UInt8.self, shape: [total, plane.byteCount(width: size)])
        }
        let sampled = SampledRows(layout: layout, embeddingSize: size, isHalf: rows.dtype == .bf16)
        _ = sampled.append(SampledRows.Part(slices: slices, counts: counts, ids: ids, rows: rows), index: 0)
        let blockList = units
        blocks.parallel.forEach(blockList.count) { index, _ in
            let (position, part) = (blockList[index].position, blockList[index].rows)
            let (slice, target) = (memory[position], sampled.slices[position])
            let from = places.pointer(Int64.self) + part.lowerBound
            pfc_rows_gather(
                slice.rows.base, from, part.count, slice.rowByteCount,
                rows.rawPointer + part.lowerBound * slice.rowByteCount)
            // Where they were read: what was written is not in the caches.
            for row in 0..<part.count {
                sampled.measure(
                    slice.rows.base + Int(from[row]) * slice.rowByteCount, count: 1,
                    into: target.inverseNorms + part.lowerBound - target.offset + row)
            }
        }
        return StepState(
            number: number, values: values, labels: labels, microBatchSize: microBatchSize,
            microBatchTree: ReductionTree(leafCount: labels.count / microBatchSize), sliceSet: sliceSet, slices: slices,
            counts: counts,
            ids: ids, places: places, rows: rows, oldState: oldState, units: units, sampled: sampled)
    }

    private func sample(step: Int, rate: Double, positives: [Int64], slices: [Int]) -> [ClassSampler.Choice] {
        let sampler = sampler.with(sampleRate: rate)
        var choices = [ClassSampler.Choice](
            repeating: .init(ids: [], rows: [], evaluations: 0), count: slices.count)
        choices.withUnsafeMutableBufferPointer { buffer in
            let results = Shared(buffer)
            blocks.parallel.forEach(slices.count) { index, _ in
                results.value[index] = sampler.sample(step: step, slice: slices[index], positives: positives)
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

    // MARK: Undo

    /// Puts the gathered rows, and what the optimiser kept of them, back.
    func restore(_ step: StepState) {
        // A slice with a step under way cannot be removed.
        let memory = step.slices.map { table.memory(of: $0) }
        blocks.parallel.forEach(step.units.count) { index, _ in
            let unit = step.units[index]
            guard let slice = memory[unit.position] else { return }
            let places = step.places.pointer(Int64.self) + unit.rows.lowerBound
            for (index, source) in ([step.rows] + step.oldState).enumerated() {
                let byteCount = slice.rowByteCounts[index]
                pfc_rows_scatter(
                    source.rawPointer + unit.rows.lowerBound * byteCount, places, unit.rows.count, byteCount,
                    slice.planes[index].base)
            }
        }
    }
}

extension ClassRegistry {
    /// Checks that every label is a class that is not retired; `first` is the place of the first in the batch.
    ///
    /// - Parameter areOptional: whether −1 stands for none.
    func checkLabels(_ labels: ArraySlice<Int64>, first: Int, areOptional: Bool = false) throws(HeadError) {
        let least: Int64 = areOptional ? -1 : 0
        for (index, label) in labels.enumerated() where label < least || label >= Int64(classCount) {
            throw HeadError(
                .labelOutOfRange,
                "the label of sample \(first + index) of the batch is \(label); it must be in 0..<\(classCount)"
                    + (areOptional ? ", or -1 for none" : ""))
        }
        if retired.isEmpty { return }
        for (index, label) in labels.enumerated() where label >= 0 && isRetired(label) {
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
            sampleRate: configuration.sampleRate, rule: configuration.sampling)
    }
}
