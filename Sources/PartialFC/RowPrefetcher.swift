internal import CKernels
internal import CenterStore
internal import Determinism
internal import Dispatch

/// Asks the system for the rows of the next step while this one is computed, if they are in files.
///
/// The negatives of any step are known from the key alone; positives, of which there are few, come with the labels. What was asked for
/// wrongly, or not at all, costs time and nothing else.
final class RowPrefetcher: Sendable {
    private let queue = DispatchQueue(label: "prefetch", qos: .utility)

    /// Begins to ask for the rows that `step` will sample.
    func start(_ sampler: ClassSampler, table: CenterTable, slices: SliceSet, step: Int) {
        guard table.memory != .anonymous else { return }
        let parts = slices.numbers.compactMap { slice in table.memory(of: slice).map { Part($0) } }
        queue.async {
            for part in parts {
                let places = sampler.sample(step: step, slice: part.held.number, positives: []).rows
                places.withUnsafeBufferPointer { places in
                    guard let first = places.baseAddress else { return }
                    pfc_rows_will_need(part.rows, first, places.count, part.held.rowByteCount)
                    pfc_rows_will_need(part.momentum, first, places.count, part.held.momentumByteCount)
                }
            }
        }
    }

    /// Returns when everything was asked for, so that no more than one step is.
    func wait() { queue.sync {} }

    /// A slice, and where its memory is at the moment.
    private struct Part: @unchecked Sendable {
        let held: HeldSlice
        let rows: UnsafeMutableRawPointer
        let momentum: UnsafeMutableRawPointer

        init(_ held: HeldSlice) {
            self.held = held
            rows = held.rows.base
            momentum = held.momentum.base
        }
    }
}
