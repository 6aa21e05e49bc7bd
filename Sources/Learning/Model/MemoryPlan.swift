/// Gives regions of memory their places such that those in use at the same time do not overlap.
public struct MemoryPlan: Sendable {
    /// A region and the steps, both included, in which it is in use.
    public struct Region: Sendable {
        public let count: Int
        public let lifetime: ClosedRange<Int>

        public init(count: Int, lifetime: ClosedRange<Int>) {
            self.count = count
            self.lifetime = lifetime
        }
    }

    /// Where each region begins, in elements of 4 bytes, each on a cache line of its own.
    public let offsets: [Int]
    /// Elements in all.
    public let count: Int

    /// Places regions from the largest to the smallest, each as low as it fits.
    public init(_ regions: [Region]) {
        func size(_ index: Int) -> Int { (regions[index].count + 15) / 16 * 16 }
        var offsets = [Int](repeating: 0, count: regions.count)
        var placed: [Int] = []
        var total = 0
        for index in regions.indices.sorted(by: { (size($1), $0) < (size($0), $1) }) {
            let neighbours =
                placed.filter { regions[$0].lifetime.overlaps(regions[index].lifetime) }
                .sorted { offsets[$0] < offsets[$1] }
            var start = 0
            for neighbour in neighbours {
                if start + size(index) <= offsets[neighbour] { break }
                start = max(start, offsets[neighbour] + size(neighbour))
            }
            offsets[index] = start
            placed.append(index)
            total = max(total, start + size(index))
        }
        self.offsets = offsets
        count = total
    }
}
