internal import CKernels
internal import Model
internal import Tensors

/// The samples of a step by where their class lies, with the coefficients of their row gradients.
struct TargetsBySlice: @unchecked Sendable {
    fileprivate struct Entry {
        var microBatch: Int
        var target: pfc_bf16_target
    }

    /// Of each slice, in the order of the samples.
    private var entries: [[Entry]]

    init(_ samples: SampleSet, logZ: Tensor, sliceCount: Int) {
        entries = Array(repeating: [], count: sliceCount)
        let (slices, rows) = (samples.targetSlice.buffer(Int32.self), samples.targetRow.buffer(Int32.self))
        for sample in 0..<samples.count where slices[sample] >= 0 {
            let coefficient = pfc_bf16_target_coefficient(
                samples.targetLogit.buffer(Float.self)[sample], samples.targetDerivative.buffer(Float.self)[sample],
                logZ.buffer(Double.self)[sample])
            entries[Int(slices[sample])].append(
                Entry(
                    microBatch: sample / samples.microBatchSize,
                    target: pfc_bf16_target(
                        row: rows[sample], coefficient: coefficient,
                        direction: samples.normalized.pointer(Float.self) + sample * samples.embeddingSize)))
        }
    }

    /// The targets among some rows of a slice.
    final class Selection {
        let base: UnsafeMutablePointer<pfc_bf16_target>
        private let microBatches: [Int]

        fileprivate init(_ entries: [Entry]) {
            base = .allocate(capacity: max(entries.count, 1))
            for (index, entry) in entries.enumerated() { (base + index).initialize(to: entry.target) }
            microBatches = entries.map(\.microBatch)
        }

        deinit { base.deallocate() }

        /// Which of them are of the micro-batch at `microBatch` among those of the samples.
        func range(microBatch: Int) -> Range<Int> {
            microBatches.lowerBound(sorted: microBatch)..<microBatches.lowerBound(sorted: microBatch + 1)
        }
    }

    /// Those whose class is in `rows` of the slice at `position`, counted from its first.
    func among(_ rows: Range<Int>, of position: Int) -> Selection {
        Selection(
            entries[position].compactMap { entry in
                guard rows.contains(Int(entry.target.row)) else { return nil }
                var entry = entry
                entry.target.row -= Int32(rows.lowerBound)
                return entry
            })
    }
}
