public import Cluster

/// The classes of one slice, and the rows they lie in: row 0 is the smallest class id, ids ascend with the rows.
public struct SliceClasses: Sendable, Hashable, CustomStringConvertible {
    /// Ascending, none empty, no two that touch.
    public private(set) var ranges: [Range<Int>] = []
    /// The row of the first class of each range.
    private var firstRows: [Int] = []
    /// Number of classes.
    public private(set) var count = 0

    /// The classes of `parts`, which ascend and do not overlap.
    init(_ parts: [Range<Int>]) {
        for part in parts where !part.isEmpty {
            if let last = ranges.last, last.upperBound == part.lowerBound {
                ranges[ranges.count - 1] = last.lowerBound..<part.upperBound
            } else {
                ranges.append(part)
                firstRows.append(count)
            }
            count += part.count
        }
    }

    /// The row of class `id` in its slice, nil if the slice does not hold it.
    public func row(ofClass id: Int) -> Int? {
        for (range, first) in zip(ranges, firstRows) where range.contains(id) { return first + id - range.lowerBound }
        return nil
    }

    public func contains(_ id: Int) -> Bool { ranges.contains { $0.contains(id) } }

    /// The class in `row`, a number in 0..<count.
    public func id(ofRow row: Int) -> Int {
        var index = ranges.count - 1
        while firstRows[index] > row { index -= 1 }
        return ranges[index].lowerBound + row - firstRows[index]
    }

    /// The class ids of ascending rows, each in 0..<count.
    public func ids(ofRows rows: [Int64]) -> [Int64] {
        var index = 0
        return rows.map { row in
            while index + 1 < ranges.count, firstRows[index + 1] <= row { index += 1 }
            return row + Int64(ranges[index].lowerBound - firstRows[index])
        }
    }

    /// The rows of those of ascending class ids that lie in this slice, ascending.
    public func rows(ofSorted ids: [Int64]) -> [Int64] {
        var rows: [Int64] = []
        for (range, first) in zip(ranges, firstRows) {
            var index = Self.lowerBound(ids, Int64(range.lowerBound))
            while index < ids.count, ids[index] < Int64(range.upperBound) {
                rows.append(ids[index] + Int64(first - range.lowerBound))
                index += 1
            }
        }
        return rows
    }

    /// The rows of those classes that lie in this slice.
    public func rows(of ids: SliceSet) -> SliceSet {
        SliceSet(
            zip(ranges, firstRows).flatMap { range, first in
                ids.parts(in: range).map { part in
                    let row = first + part.lowerBound - range.lowerBound
                    return row..<row + part.count
                }
            })
    }

    /// Every class id, ascending.
    public var ids: [Int64] { ranges.flatMap { $0.map(Int64.init) } }

    public var description: String { ranges.map { "\($0)" }.joined(separator: ", ") }

    private static func lowerBound(_ ids: [Int64], _ id: Int64) -> Int {
        var (low, high) = (0, ids.count)
        while low < high {
            let middle = low + (high - low) / 2
            if ids[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
