/// How the classes are cut into slices: slice i of N holds the classes [C·i/N, C·(i+1)/N).
///
/// The slice is the unit of ownership, sampling and migration. There may be more slices than classes: some are empty then.
public struct SliceLayout: Sendable, Hashable, Codable {
    public let classCount: Int
    public let sliceCount: Int

    /// The largest class count: ids times slices must stay far inside 64 bits.
    public static let classLimit = 1 << 40
    /// The largest number of slices.
    public static let sliceLimit = 1 << 16

    /// A layout of `classCount` classes in `sliceCount` slices.
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
        self.classCount = classCount
        self.sliceCount = sliceCount
    }

    /// The classes of `slice`, a number in 0..<sliceCount.
    public func classes(of slice: Int) -> Range<Int> {
        classCount * slice / sliceCount..<classCount * (slice + 1) / sliceCount
    }

    /// The classes of a contiguous range of slices.
    public func classes(of slices: Range<Int>) -> Range<Int> {
        classCount * slices.lowerBound / sliceCount..<classCount * slices.upperBound / sliceCount
    }

    /// The slice that holds class `id`, a number in 0..<classCount.
    public func slice(ofClass id: Int) -> Int { ((id + 1) * sliceCount - 1) / classCount }
}
