internal import CKernels
internal import Cluster
internal import Determinism
internal import Model
internal import ParameterStore
internal import Tensors

/// From row gradients to updated rows: each row is read, updated and written once.
extension ShardHead {
    /// Rows that cannot be updated, found by several threads: the first of each kind counts.
    private final class Faults: @unchecked Sendable {
        private var gradients: [Int?]
        private var rows: [Int?]

        init(threads: Int) {
            gradients = Array(repeating: nil, count: threads)
            rows = gradients
        }

        func gradient(_ row: Int, _ thread: Int) { gradients[thread] = min(gradients[thread] ?? row, row) }
        func row(_ row: Int, _ thread: Int) { rows[thread] = min(rows[thread] ?? row, row) }

        var firstGradient: Int? { gradients.compactMap { $0 }.min() }
        var firstRow: Int? { rows.compactMap { $0 }.min() }
    }

    /// Rows that are updated at a time.
    private static var updateRows: Int { 64 }

    /// Updates the sampled rows in the table with gradients that `produce` gives tile by tile; rows that are ahead of the step
    /// keep their values.
    ///
    /// - Throws: `HeadError` if a gradient or a row would not be finite: the table is as it was then.
    func update(
        _ step: StepState, learningRate: Float,
        gradients produce: (_ consume: @Sendable (SoftmaxBlocks.GradientTile, _ thread: Int) -> Void) -> Void
    ) throws(HeadError) {
        guard learningRate.isFinite, learningRate >= 0 else {
            throw HeadError(.malformed, "the learning rate is \(learningRate); it must be a number from 0 up")
        }
        let memory = try memory(of: step.slices)
        let size = configuration.embeddingSize
        var key = KeyedRandom(seed: configuration.seed, purpose: .rounding, UInt64(step.number))
        let optimizer = pfc_row_optimizer(
            rule: configuration.optimizer.kernel(learningRate: learningRate), rows: configuration.storage.kernel,
            state: configuration.optimizer.storage.kernel, nearest: configuration.rounding == .nearest ? 1 : 0,
            scale_over_batch: scaleOverBatch(step), key: key.next())
        let scratch = (0..<blocks.parallel.threads).map { _ in Tensor(uninitialized: Float.self, shape: [3 * size]) }
        let faults = Faults(threads: blocks.parallel.threads)
        produce { tile, thread in
            let slice = memory[tile.position]
            let first = step.sampled.slices[tile.position].offset + tile.rows.lowerBound
            var optimizer = optimizer
            for start in stride(from: 0, to: tile.rows.count, by: Self.updateRows) {
                let rows = first + start..<first + min(start + Self.updateRows, tile.rows.count)
                let h = tile.values + start * size
                if let bad = Self.firstNonFinite(h, rows, size, ahead: step.ahead) { faults.gradient(bad, thread) }
                let bad = step.ahead.withUnsafeBufferPointer { ahead in
                    pfc_rows_update(
                        &optimizer, h, step.rows.rawPointer + rows.lowerBound * slice.rowByteCount,
                        step.ids.pointer(Int64.self) + rows.lowerBound,
                        step.places.pointer(Int64.self) + rows.lowerBound,
                        ahead.isEmpty ? nil : ahead.baseAddress.map { $0 + rows.lowerBound }, rows.count, size,
                        slice.bases, step.oldState(slice, from: rows.lowerBound),
                        scratch[thread].pointer(Float.self))
                }
                if bad >= 0 { faults.row(rows.lowerBound + bad, thread) }
            }
        }
        if let row = faults.firstGradient {
            restore(step)
            throw HeadError(
                .notFinite,
                "the gradient of the center of class \(step.ids.buffer(Int64.self)[row]) is not finite")
        }
        if let row = faults.firstRow {
            restore(step)
            throw HeadError(
                .notFinite,
                "the updated center of class \(step.ids.buffer(Int64.self)[row]) is not finite: lower the learning rate (\(learningRate)) or clip"
            )
        }
        // The rows of this step are needed no more, and in the exchange `features` the workers have the backbone before them.
        if isSampling {
            // At another rate the first ones are the same.
            let likely = sampler.with(sampleRate: step.values.sampleRate)
            prefetcher.start(likely, table: table, slices: activeSlices, step: step.number + 1)
        }
    }

    /// The first of `rows` whose gradient is not finite. What comes out for rows that are ahead is of no use, and may be
    /// anything.
    private static func firstNonFinite(
        _ h: UnsafePointer<Float>, _ rows: Range<Int>, _ size: Int, ahead: [UInt8]
    ) -> Int? {
        if pfc_head_first_nonfinite(h, rows.count * size) < 0 { return nil }
        return rows.enumerated().first { index, row in
            (ahead.isEmpty || ahead[row] == 0) && pfc_head_first_nonfinite(h + index * size, size) >= 0
        }?.element
    }

    /// Updates the table from what a `features` exchange has brought: gradient and update in one pass.
    func update(_ step: StepState, _ gradients: FeatureGradients, learningRate: Float) throws(HeadError) {
        let upcoming = upcoming(step, try memory(of: step.slices))
        try update(step, learningRate: learningRate) { consume in
            blocks.gradient(
                samples: gradients.samples, rows: step.sampled, logZ: gradients.logZ, tree: step.microBatchTree,
                nodes: [step.microBatchTree.root], kept: step.kept, upcoming: upcoming, consume: consume)
        }
    }

    /// What an update reads of rows: the gathered ones, and the planes that the optimiser keeps.
    private func upcoming(_ step: StepState, _ memory: [HeldSlice]) -> SoftmaxBlocks.Upcoming {
        { position, range in
            let slice = memory[position]
            let first = step.sampled.slices[position].offset
            var pieces = [step.sampled.memory(step.sampled.slices[position], range)]
            for row in first + range.lowerBound..<first + range.upperBound {
                let place = Int(step.places.buffer(Int64.self)[row])
                for (plane, byteCount) in zip(slice.planes, slice.rowByteCounts).dropFirst() {
                    pieces.append(pfc_piece(start: plane.base + place * byteCount, byte_count: byteCount))
                }
            }
            return pieces
        }
    }

    /// Updates the table from row gradients H [S, D] that were computed elsewhere.
    func update(_ step: StepState, gradient: Tensor, learningRate: Float) throws(HeadError) {
        let size = configuration.embeddingSize
        try update(step, learningRate: learningRate) { consume in
            blocks.parallel.forEachFromLast(step.units.count) { index, thread in
                let unit = step.units[index]
                let offset = step.sampled.slices[unit.position].offset
                consume(
                    SoftmaxBlocks.GradientTile(
                        position: unit.position, rows: unit.rows.lowerBound - offset..<unit.rows.upperBound - offset,
                        node: 0, values: gradient.pointer(Float.self) + unit.rows.lowerBound * size), thread)
            }
        }
    }
}

extension NumberFormat {
    /// The kernels' name of the format.
    var kernel: pfc_format {
        switch self {
        case .f32: pfc_format_f32
        case .bf16: pfc_format_bf16
        case .int8: pfc_format_int8
        case .none: pfc_format_none
        }
    }
}
