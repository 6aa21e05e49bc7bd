/// A set of slices or classes, as ascending ranges that do not touch: what one shard owns, what an operation names.
public struct SliceSet: Sendable, Hashable, ExpressibleByArrayLiteral, CustomStringConvertible {
    /// Ascending, none empty, with at least one missing number between two.
    public private(set) var ranges: [Range<Int>]

    /// The slices in any of `ranges`, which may overlap and come in any order.
    public init(_ ranges: some Sequence<Range<Int>>) {
        self.ranges = []
        for range in ranges.filter({ !$0.isEmpty }).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = self.ranges.last, range.lowerBound <= last.upperBound {
                self.ranges[self.ranges.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                self.ranges.append(range)
            }
        }
    }

    public init(_ range: Range<Int>) { self.init([range]) }

    public init(arrayLiteral slices: Int...) { self.init(slices.map { $0..<$0 + 1 }) }

    /// The slices of `numbers`, in any order.
    public init(numbers: some Sequence<Int>) { self.init(numbers.map { $0..<$0 + 1 }) }

    public var isEmpty: Bool { ranges.isEmpty }
    /// How many slices there are.
    public var count: Int { ranges.reduce(0) { $0 + $1.count } }
    /// Every slice, ascending.
    public var numbers: [Int] { ranges.flatMap { Array($0) } }
    /// The first and one past the last slice, 0..<0 if there is none.
    public var bounds: Range<Int> { (ranges.first?.lowerBound ?? 0)..<(ranges.last?.upperBound ?? 0) }

    /// In time logarithmic in the number of ranges.
    public func contains(_ slice: Int) -> Bool {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = low + (high - low) / 2
            if ranges[middle].upperBound <= slice { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].contains(slice)
    }

    /// The parts of the ranges that lie in `bounds`, ascending.
    public func parts(in bounds: Range<Int>) -> [Range<Int>] {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = low + (high - low) / 2
            if ranges[middle].upperBound <= bounds.lowerBound { low = middle + 1 } else { high = middle }
        }
        return ranges[low...].prefix { $0.lowerBound < bounds.upperBound }.map { $0.clamped(to: bounds) }
            .filter { !$0.isEmpty }
    }

    /// In time linear in the number of ranges of both.
    public func union(_ other: SliceSet) -> SliceSet {
        if other.isEmpty { return self }
        if isEmpty { return other }
        var union: SliceSet = []
        union.ranges.reserveCapacity(ranges.count + other.ranges.count)
        var (mine, others) = (0, 0)
        while mine < ranges.count || others < other.ranges.count {
            let isMine =
                others == other.ranges.count
                || mine < ranges.count && ranges[mine].lowerBound <= other.ranges[others].lowerBound
            let next = isMine ? ranges[mine] : other.ranges[others]
            if isMine { mine += 1 } else { others += 1 }
            if let last = union.ranges.last, next.lowerBound <= last.upperBound {
                union.ranges[union.ranges.count - 1] = last.lowerBound..<max(last.upperBound, next.upperBound)
            } else {
                union.ranges.append(next)
            }
        }
        return union
    }

    public func subtracting(_ other: SliceSet) -> SliceSet {
        SliceSet(numbers: numbers.filter { !other.contains($0) })
    }

    public func isDisjoint(with other: SliceSet) -> Bool {
        !ranges.contains { range in other.ranges.contains { $0.overlaps(range) } }
    }

    /// `0–3, 8–11`; a dash for none.
    public var description: String {
        if isEmpty { return "–" }
        return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)–\($0.upperBound - 1)" }
            .joined(separator: ", ")
    }
}

extension SliceSet: Codable {
    private enum CodingKeys: String, CodingKey { case ranges }
    /// Class ids and numbers of slices that somebody may name.
    private static let limit = 1 << 48

    /// - Throws: `DecodingError` unless the ranges ascend, do not touch, are not empty, and lie within 0 and 2⁴⁸.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let ranges = try container.decode([Range<Int>].self, forKey: .ranges)
        self.init(ranges)
        guard self.ranges == ranges, bounds.lowerBound >= 0, bounds.upperBound <= Self.limit else {
            throw DecodingError.dataCorruptedError(
                forKey: .ranges, in: container,
                debugDescription: "the ranges do not ascend, touch each other, or are impossible")
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(ranges, forKey: .ranges)
    }
}
