internal import CKernels
internal import Determinism
internal import Tensors

/// Finishes the micro-batch tree over what the ranks pushed.
struct GradientSum {
    /// The elements of the flat vector that are summed, ascending.
    let ranges: [Range<Int>]
    let microBatchCount: Int
    /// How sums are rounded; then the parts are bf16.
    var rounding: DenseGradientRounding?

    private var elements: Int { ranges.reduce(0) { $0 + $1.count } }

    /// The sum f32 [elements] over all micro-batches of nodes i32 [K,2] and gradients f32 or bf16 [K, elements] per rank.
    ///
    /// - Throws: `BackboneError` unless the nodes cover every micro-batch exactly once.
    func total(_ pushed: [[Tensor]]) throws(BackboneError) -> Tensor {
        let (tree, elements) = (ReductionTree(leafCount: microBatchCount), elements)
        let dtype: DType = rounding == nil ? .f32 : .bf16
        var parts: [ReductionTree.Node: Part] = [:]
        var covered = [Bool](repeating: false, count: microBatchCount)
        for (rank, tensors) in pushed.enumerated() {
            func fail(_ problem: String) -> BackboneError {
                BackboneError(.invalidPayload, "dense gradients of rank \(rank): \(problem)")
            }
            guard tensors.count == 2 else { throw fail("\(tensors.count) tensors; expected nodes and gradients") }
            let (nodes, gradients) = (tensors[0], tensors[1])
            guard nodes.dtype == .i32, nodes.shape.count == 2, nodes.shape[1] == 2 else {
                throw fail("nodes are \(nodes.dtype) \(nodes.shape); expected i32 [K,2]")
            }
            guard gradients.dtype == dtype, gradients.shape == [nodes.shape[0], elements] else {
                throw fail(
                    "gradients are \(gradients.dtype) \(gradients.shape); expected \(dtype) [\(nodes.shape[0]),\(elements)]"
                )
            }
            let numbers = nodes.buffer(Int32.self)
            for row in 0..<nodes.shape[0] {
                let (level, index) = (Int(numbers[2 * row]), Int(numbers[2 * row + 1]))
                let node = ReductionTree.Node(level: level, index: index)
                guard level >= 0, index >= 0, level <= tree.root.level, tree.contains(node) else {
                    throw fail("node (\(level), \(index)) is not in a tree of \(microBatchCount) micro-batches")
                }
                for leaf in tree.leaves(of: node) {
                    guard !covered[leaf] else { throw fail("micro-batch \(leaf) was pushed twice") }
                    covered[leaf] = true
                }
                let part = gradients.rows(row..<row + 1).reshaped([elements])
                parts[node] =
                    rounding == nil ? Part(tensor: part, isOurs: false) : Part(tensor: part.widened, isOurs: true)
            }
        }
        if let missing = covered.firstIndex(of: false) {
            throw BackboneError(.invalidPayload, "dense gradients: no rank pushed micro-batch \(missing)")
        }
        let sum = tree.combine(parts, at: tree.root) { node, a, b in
            let sum = Part.merge(a, b)
            if elements > 0 {
                rounding?.round(sum.tensor.mutable(Float.self).baseAddress!, of: node, elements: ranges)
            }
            return sum
        }
        guard let total = sum else {
            throw BackboneError(
                .invalidPayload, "dense gradients do not cover the tree of \(microBatchCount) micro-batches")
        }
        return total.tensor
    }

    /// A summand; `isOurs` if it may be overwritten, because it was made here.
    private struct Part {
        let tensor: Tensor
        let isOurs: Bool

        static func merge(_ a: Part, _ b: Part) -> Part {
            let count = a.tensor.count
            guard count > 0 else { return a }
            let left = a.tensor.mutable(Float.self).baseAddress!
            let right = b.tensor.mutable(Float.self).baseAddress!
            if a.isOurs {
                pfc_add(left, right, count)
                return a
            }
            // a + b = b + a bit for bit, so either operand may take the sum.
            if b.isOurs {
                pfc_add(right, left, count)
                return b
            }
            let sum = Tensor(uninitialized: Float.self, shape: [count])
            pfc_sum(sum.mutable(Float.self).baseAddress!, left, right, count)
            return Part(tensor: sum, isOurs: true)
        }
    }
}
