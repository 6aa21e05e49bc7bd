/// How the classes are cut into slices.
///
/// Classes come in *extents*: the classes a run began with, then one extent for each addition. Slice i of N holds of every
/// extent [a, b) the classes [a + (b − a)·i/N, a + (b − a)·(i + 1)/N), so that every addition makes all slices grow alike and
/// no class ever changes its slice. The slice is the unit of ownership, sampling and migration. There may be more slices than
/// classes: some are empty then.
public struct SliceLayout: Sendable, Hashable {
    public let sliceCount: Int
    /// Where each extent begins, and where the last one ends: ascending from 0.
    private var boundaries: [Int]

    /// The largest class count: ids times slices must stay far inside 64 bits.
    public static let classLimit = 1 << 40
    /// The largest number of slices.
    public static let sliceLimit = 1 << 16

    /// A layout of one extent, `classCount` classes in `sliceCount` slices.
    ///
    /// - Throws: `CenterStoreError` if there is no class, or `sliceCount` is not a power of two within the limits.
    public init(classCount: Int, sliceCount: Int) throws(CenterStoreError) {
        guard (1...Self.classLimit).contains(classCount) else {
            throw CenterStoreError(.layout, "the class count is \(classCount); it must be in 1...\(Self.classLimit)")
        }
        guard (1...Self.sliceLimit).contains(sliceCount), sliceCount & (sliceCount - 1) == 0 else {
            throw CenterStoreError(
                .layout, "the slice count is \(sliceCount); it must be a power of two in 1...\(Self.sliceLimit)")
        }
        self.sliceCount = sliceCount
        boundaries = [0, classCount]
    }

    /// All classes, the added ones too.
    public var classCount: Int { boundaries[boundaries.count - 1] }

    /// The extents, in the order in which they came.
    public var extents: [Range<Int>] { zip(boundaries, boundaries.dropFirst()).map { $0..<$1 } }

    /// The layout after `count` more classes.
    ///
    /// - Throws: `CenterStoreError` if `count` is not above 0 or there would be too many classes.
    public func adding(_ count: Int) throws(CenterStoreError) -> SliceLayout {
        guard count > 0, count <= Self.classLimit - classCount else {
            throw CenterStoreError(
                .layout,
                "\(count) classes cannot be added to \(classCount): add at least one, and have at most \(Self.classLimit)"
            )
        }
        var layout = self
        layout.boundaries.append(classCount + count)
        return layout
    }

    /// The classes of `slice`, a number in 0..<sliceCount.
    public func classes(of slice: Int) -> SliceClasses {
        SliceClasses(zip(boundaries, boundaries.dropFirst()).map { part(of: $0..<$1, in: slice) })
    }

    /// The slice that holds class `id`, a number in 0..<classCount.
    public func slice(ofClass id: Int) -> Int {
        let extent = extent(ofClass: id)
        return ((id - extent.lowerBound + 1) * sliceCount - 1) / extent.count
    }

    /// How many classes the slices before `slice` have, a number in 0...sliceCount.
    public func classCount(beforeSlice slice: Int) -> Int {
        zip(boundaries, boundaries.dropFirst()).reduce(0) { $0 + ($1.1 - $1.0) * slice / sliceCount }
    }

    private func part(of extent: Range<Int>, in slice: Int) -> Range<Int> {
        let (start, count) = (extent.lowerBound, extent.count)
        return start + count * slice / sliceCount..<start + count * (slice + 1) / sliceCount
    }

    private func extent(ofClass id: Int) -> Range<Int> {
        var (low, high) = (0, boundaries.count - 2)
        while low < high {
            let middle = (low + high + 1) / 2
            if boundaries[middle] <= id { low = middle } else { high = middle - 1 }
        }
        return boundaries[low]..<boundaries[low + 1]
    }
}
