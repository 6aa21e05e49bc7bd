internal import CKernels
internal import CenterStore
internal import Determinism
internal import Dispatch
internal import Synchronization

/// Asks the system for the rows of the next step once those of this one are updated, if they are in files.
///
/// The negatives of any step are known from the key alone; positives, of which there are few, come with the labels. What was asked for
/// wrongly, or not at all, costs time and nothing else.
final class RowPrefetcher: Sendable {
    /// How often it was told to stop.
    private let stops = Atomic<Int>(0)
    private let queue = DispatchQueue(label: "prefetch", qos: .utility)

    /// Begins to ask for the rows that `step` will sample.
    func start(_ sampler: ClassSampler, table: CenterTable, slices: SliceSet, step: Int) {
        guard table.memory != .anonymous else { return }
        let parts = slices.numbers.compactMap { slice in table.memory(of: slice).map { Part($0) } }
        let before = stops.load(ordering: .relaxed)
        queue.async { [self] in
            for part in parts where stops.load(ordering: .relaxed) == before {
                let places = sampler.sample(step: step, slice: part.held.number, positives: []).rows
                places.withUnsafeBufferPointer { places in
                    guard let first = places.baseAddress else { return }
                    pfc_rows_will_need(part.rows, first, places.count, part.held.rowByteCount)
                    pfc_rows_will_need(part.momentum, first, places.count, part.held.momentumByteCount)
                }
            }
        }
    }

    /// Asks for no more: the step itself reads now.
    func stop() { stops.add(1, ordering: .relaxed) }

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
