internal import CKernels
internal import Determinism

/// Sums of vectors along a reduction tree, with one buffer per level.
enum TreeSum {
    /// Puts the value of `node` into `out`. `value` writes the value of a node it knows and returns true; the others are
    /// summed from their children, and given to `round`. `stack` has room for `length` numbers per level below `node`.
    static func add(
        _ tree: ReductionTree, _ node: ReductionTree.Node, into out: UnsafeMutablePointer<Float>,
        stack: UnsafeMutablePointer<Float>, length: Int,
        round: (ReductionTree.Node, UnsafeMutablePointer<Float>) -> Void = { _, _ in },
        _ value: (ReductionTree.Node, UnsafeMutablePointer<Float>) -> Bool
    ) {
        if value(node, out) { return }
        let left = ReductionTree.Node(level: node.level - 1, index: node.index * 2)
        let right = ReductionTree.Node(level: node.level - 1, index: node.index * 2 + 1)
        add(tree, left, into: out, stack: stack + length, length: length, round: round, value)
        if !tree.contains(right) { return }
        add(tree, right, into: stack, stack: stack + length, length: length, round: round, value)
        pfc_head_add(out, stack, length)
        round(node, out)
    }
}
