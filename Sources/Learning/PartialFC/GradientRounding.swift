internal import CKernels
internal import Determinism
internal import Model
internal import ParameterStore

/// Rounds sums of row gradients over micro-batches to bf16, stochastically.
///
/// Every node of the tree over micro-batches is rounded, the leaves and the root too, with random bits keyed by seed, step,
/// node, class id and dimension: what comes out does not depend on which nodes travel, and so not on how many workers there are.
struct GradientRounding: Sendable {
    let seed: UInt64
    let step: Int

    /// Rounds rows H [count, D] of `node` in place; they stay floats. Those that are rounded already stay as they are.
    func round(
        _ rows: UnsafeMutablePointer<Float>, of node: ReductionTree.Node, ids: UnsafePointer<Int64>, count: Int,
        size: Int
    ) {
        var key = KeyedRandom(
            seed: seed, purpose: .gradientRounding, UInt64(step), UInt64(node.level), UInt64(node.index))
        pfc_rows_round_bf16(rows, ids, count, size, key.next())
    }
}

extension HeadConfiguration {
    /// How row gradients of a step are rounded on their way, if they are.
    func gradientRounding(step: Int) -> GradientRounding? {
        exchangedGradients == .bf16 ? GradientRounding(seed: seed, step: step) : nil
    }
}
