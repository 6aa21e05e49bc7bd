internal import CKernels
public import Determinism

/// Rounds sums of the backbone's gradient over micro-batches to bf16, stochastically.
///
/// Every node of the tree over micro-batches is rounded, the leaves and the root too, with random bits keyed by seed, step, node
/// and element: what comes out does not depend on which nodes travel, and so neither on how many workers there are nor on how
/// many shards.
public struct DenseGradientRounding: Sendable {
    let seed: UInt64
    let step: Int

    public init(seed: UInt64, step: Int) {
        self.seed = seed
        self.step = step
    }

    /// Rounds the sum of `node` in place; it stays floats. What is rounded already, or is not finite, stays as it is.
    ///
    /// - Parameter ranges: the elements of the flat vector that `values` has, ascending.
    public func round(
        _ values: UnsafeMutablePointer<Float>, of node: ReductionTree.Node, elements ranges: [Range<Int>]
    ) {
        var random = KeyedRandom(
            seed: seed, purpose: .denseGradientRounding, UInt64(step), UInt64(node.level), UInt64(node.index))
        let key = random.next()
        var next = values
        for range in ranges {
            pfc_round_bf16(next, range.count, key, UInt64(range.lowerBound))
            next += range.count
        }
    }
}
