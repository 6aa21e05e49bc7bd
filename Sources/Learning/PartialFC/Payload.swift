internal import CKernels
internal import Determinism
internal import Model
internal import Tensors

/// Checks of tensors that came from a peer: nothing of them is trusted.
enum Payload {
    /// The tensors of a payload, which must be exactly `count`.
    static func expect(_ tensors: [Tensor], count: Int, from sender: String) throws(HeadError) {
        guard tensors.count == count else {
            throw HeadError(.malformed, "\(sender) sent \(tensors.count) tensors, expected \(count)")
        }
    }

    /// Checks type and shape.
    static func check(_ tensor: Tensor, _ name: String, _ dtype: DType, _ shape: [Int], from sender: String)
        throws(HeadError)
    {
        guard tensor.dtype == dtype, tensor.shape == shape else {
            throw HeadError(
                .malformed, "\(name) from \(sender) is \(tensor.dtype) \(tensor.shape), expected \(dtype) \(shape)")
        }
    }

    /// The position of the first number of an f32 or bf16 tensor that is not finite.
    static func firstNonFinite(_ tensor: Tensor, parallel: ParallelBlocks) -> Int? {
        let (count, block) = (tensor.count, 1 << 16)
        let found = Tensor([Int64](repeating: -1, count: (count + block - 1) / block))
        let isHalf = tensor.dtype == .bf16
        parallel.forEach(found.count) { index, _ in
            let start = index * block
            let length = min(block, count - start)
            let bad =
                isHalf
                ? pfc_head_first_nonfinite_bf16(tensor.pointer(UInt16.self) + start, length)
                : pfc_head_first_nonfinite(tensor.pointer(Float.self) + start, length)
            if bad >= 0 { found.mutable(Int64.self)[index] = Int64(start + bad) }
        }
        return found.array(Int64.self).first { $0 >= 0 }.map(Int.init)
    }

    /// The tree nodes of an i32 tensor [K, 2] of (level, index).
    static func nodes(_ tensor: Tensor, of tree: ReductionTree, from sender: String) throws(HeadError) -> [ReductionTree
        .Node]
    {
        guard tensor.dtype == .i32, tensor.shape.count == 2, tensor.shape[1] == 2 else {
            throw HeadError(.malformed, "nodes from \(sender) are \(tensor.dtype) \(tensor.shape), expected i32 [K, 2]")
        }
        let values = tensor.buffer(Int32.self)
        var nodes: [ReductionTree.Node] = []
        for k in 0..<tensor.shape[0] {
            let node = ReductionTree.Node(level: Int(values[2 * k]), index: Int(values[2 * k + 1]))
            guard tree.contains(node) else {
                throw HeadError(
                    .malformed,
                    "node (\(node.level), \(node.index)) from \(sender) is not in a tree of \(tree.leafCount) leaves")
            }
            nodes.append(node)
        }
        return nodes
    }

    /// The i32 tensor [K, 2] of `nodes`.
    static func tensor(of nodes: [ReductionTree.Node]) -> Tensor {
        Tensor(nodes.flatMap { [Int32($0.level), Int32($0.index)] }, shape: [nodes.count, 2])
    }

    /// Checks that nodes of all senders together cover every leaf exactly once.
    static func checkCover(
        _ nodes: [ReductionTree.Node], of tree: ReductionTree, leaf: String
    ) throws(HeadError) {
        var next = 0
        for node in nodes.sorted() {
            let leaves = tree.leaves(of: node)
            guard leaves.lowerBound == next else {
                throw HeadError(
                    .malformed,
                    leaves.lowerBound > next
                        ? "\(leaf) \(next) is missing: nobody sent it" : "\(leaf) \(leaves.lowerBound) was sent twice")
            }
            next = leaves.upperBound
        }
        guard next == tree.leafCount else {
            throw HeadError(.malformed, "\(leaf) \(next) of \(tree.leafCount) is missing: nobody sent it")
        }
    }
}
