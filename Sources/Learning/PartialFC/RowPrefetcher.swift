internal import CKernels
package import Cluster
package import Dispatch
package import ParameterStore
internal import Synchronization

/// Asks the system for the rows of the next step once those of this one are updated, if they are in files.
///
/// The negatives of any step are known from the key alone; positives, of which there are few, come with the labels. What was asked for
/// wrongly, or not at all, costs time and nothing else.
package final class RowPrefetcher: Sendable {
    /// How often it was told to stop, or to begin with another step.
    private let turns = Atomic<Int>(0)
    package let queue = DispatchQueue(label: "prefetch", qos: .utility)
    /// Slices whose rows were asked for.
    private let asked = Atomic<Int>(0)

    package init() {}

    package var askedSlices: Int { asked.load(ordering: .relaxed) }

    /// Begins to ask for the rows that `step` will sample. What was begun for another step is given up: nobody stops it while a log is
    /// replayed, which begins with a step as soon as another is over.
    package func start(_ sampler: ClassSampler, table: CenterTable, slices: SliceSet, step: Int) {
        guard table.memory != .anonymous else { return }
        let parts = slices.numbers.compactMap { slice in table.memory(of: slice).map { Part($0) } }
        let turn = turns.add(1, ordering: .relaxed).newValue
        queue.async { [self] in
            for part in parts where turns.load(ordering: .relaxed) == turn {
                asked.add(1, ordering: .relaxed)
                let places = sampler.sample(step: step, slice: part.held.number, positives: []).rows
                places.withUnsafeBufferPointer { places in
                    guard let first = places.baseAddress else { return }
                    for (plane, byteCount) in zip(part.planes, part.held.rowByteCounts) {
                        pfc_rows_will_need(plane, first, places.count, byteCount)
                    }
                }
            }
        }
    }

    /// Asks for no more: the step itself reads now.
    package func stop() { turns.add(1, ordering: .relaxed) }

    /// A slice, and where its memory is at the moment.
    private struct Part: @unchecked Sendable {
        let held: HeldSlice
        let planes: [UnsafeMutableRawPointer]

        init(_ held: HeldSlice) {
            self.held = held
            planes = held.planes.map(\.base)
        }
    }
}
