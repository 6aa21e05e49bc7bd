internal import Cluster
internal import ParameterStore

/// In which step each held row took part last, as far as this process has seen: for people who look at a center.
///
/// Kept in memory alone, 4 bytes a row, and filled again by what is replayed: no format on disk knows it. Before the first step
/// that was seen of a slice nothing is known.
struct RowHistory {
    private struct Slice {
        /// The first step that was seen.
        var since: Int
        /// One more than the last step of each row, 0 if it took part in none that was seen. Rows at the end may be missing.
        var steps: [UInt32] = []
    }

    private var slices: [Int: Slice] = [:]

    /// A step is over: of each of its slices these rows took part.
    ///
    /// - Parameters:
    ///   - counts: rows of each slice.
    ///   - places: the row in its slice of each, slice after slice.
    mutating func note(step: Int, slices numbers: [Int], counts: [Int], places: UnsafeBufferPointer<Int64>) {
        var offset = 0
        for (number, count) in zip(numbers, counts) {
            var slice = slices.removeValue(forKey: number) ?? Slice(since: step)
            slice.since = min(slice.since, step)
            let rows = places[offset..<offset + count]
            // Ascending in each slice: the last is the largest.
            if let last = rows.last, slice.steps.count <= Int(last) {
                slice.steps += repeatElement(0, count: Int(last) + 1 - slice.steps.count)
            }
            let mark = UInt32(clamping: step + 1)
            for row in rows { slice.steps[Int(row)] = mark }
            slices[number] = slice
            offset += count
        }
    }

    /// Nothing is known of these slices any more.
    mutating func forget(_ numbers: SliceSet) {
        for number in numbers.numbers { slices[number] = nil }
    }

    /// The last step of a row, and the first step that is known of its slice; -1 for none.
    func last(slice: Int, row: Int) -> (step: Int, since: Int) {
        guard let known = slices[slice] else { return (-1, -1) }
        return (row < known.steps.count ? Int(known.steps[row]) - 1 : -1, known.since)
    }
}
