public import Cluster

/// The fixed binary tree along which results are combined, over slices or over micro-batches.
///
/// Floating-point sums depend on their order, so the order is that of this tree, whoever computes which part. Node
/// (level, index) covers the leaves `index << level ..< (index + 1) << level`, cut off at `leafCount`. A process that
/// owns a range of leaves combines the largest whole subtrees inside it (`subtrees(of:)`), and the receiver finishes
/// the tree (`combine`).
public struct ReductionTree: Sendable, Hashable {
    /// A subtree: `level` 0 is a leaf.
    public struct Node: Sendable, Hashable, Comparable {
        public var level: Int
        public var index: Int

        public init(level: Int, index: Int) {
            self.level = level
            self.index = index
        }

        public static func < (a: Node, b: Node) -> Bool {
            (a.index << a.level, a.level) < (b.index << b.level, b.level)
        }
    }

    public let leafCount: Int

    public init(leafCount: Int) {
        precondition(leafCount > 0, "a tree needs a leaf")
        self.leafCount = leafCount
    }

    /// The root: the node that covers every leaf.
    public var root: Node {
        var level = 0
        while 1 << level < leafCount { level += 1 }
        return Node(level: level, index: 0)
    }

    /// The leaves below `node`.
    public func leaves(of node: Node) -> Range<Int> {
        min(node.index << node.level, leafCount)..<min((node.index + 1) << node.level, leafCount)
    }

    /// Whether `node` is part of this tree and covers a leaf.
    public func contains(_ node: Node) -> Bool {
        node.level >= 0 && node.level <= root.level && node.index >= 0 && node.index <= (leafCount - 1) >> node.level
    }

    /// The largest subtrees that lie wholly inside `range`, in order of their leaves.
    public func subtrees(of range: Range<Int>) -> [Node] {
        precondition(
            range.isEmpty || (range.lowerBound >= 0 && range.upperBound <= leafCount), "\(range) of \(leafCount)")
        var nodes: [Node] = []
        func visit(_ node: Node) {
            let covered = leaves(of: node)
            if covered.isEmpty || !covered.overlaps(range) { return }
            if range.lowerBound <= covered.lowerBound && covered.upperBound <= range.upperBound {
                nodes.append(node)
            } else {
                visit(Node(level: node.level - 1, index: node.index * 2))
                visit(Node(level: node.level - 1, index: node.index * 2 + 1))
            }
        }
        visit(root)
        return nodes
    }

    /// The largest subtrees that lie wholly inside `slices`, in order of their leaves.
    public func subtrees(of slices: SliceSet) -> [Node] { slices.ranges.flatMap(subtrees) }

    /// The value at `node`, by combining `parts` (values of disjoint subtrees) bottom-up, left before right. `merge` learns whose
    /// value it makes; a node with one child has that one's.
    ///
    /// - Returns: nil if a leaf below `node` is covered by no part.
    public func combine<Value>(
        _ parts: [Node: Value], at node: Node, with merge: (_ node: Node, Value, Value) throws -> Value
    ) rethrows -> Value? {
        if let value = parts[node] { return value }
        if node.level == 0 { return nil }
        let left = Node(level: node.level - 1, index: node.index * 2)
        let right = Node(level: node.level - 1, index: node.index * 2 + 1)
        guard let a = try combine(parts, at: left, with: merge) else { return nil }
        if leaves(of: right).isEmpty { return a }
        guard let b = try combine(parts, at: right, with: merge) else { return nil }
        return try merge(node, a, b)
    }

    /// Splits the leaves into `count` contiguous ranges whose sizes differ by at most one.
    public func evenRanges(_ count: Int) -> [Range<Int>] {
        (0..<count).map { leafCount * $0 / count..<leafCount * ($0 + 1) / count }
    }
}
