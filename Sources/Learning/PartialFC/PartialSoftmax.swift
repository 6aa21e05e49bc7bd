internal import CKernels
internal import Determinism
internal import Tensors

/// Memory of a partial softmax of n samples: maximum [n], sum [n] and numerator [n, D].
///
/// Over a set of classes without the targets: maximum m of the logits, Σ exp(z − m), and Σ exp(z − m)·ŵ.
struct PartialSlot: @unchecked Sendable {
    var maximum: UnsafeMutablePointer<Float>
    var sum: UnsafeMutablePointer<Float>
    var numerator: UnsafeMutablePointer<Float>

    /// Makes some samples those of no class.
    func clear(samples: Range<Int>, size: Int) {
        (maximum + samples.lowerBound).update(repeating: -.infinity, count: samples.count)
        (sum + samples.lowerBound).update(repeating: 0, count: samples.count)
        (numerator + samples.lowerBound * size).update(repeating: 0, count: samples.count * size)
    }
}

/// One merge of partial softmaxes along the tree: slot `out` = slots `left` and `right`.
struct MergeStep: Sendable {
    var left: Int
    var right: Int
    var out: Int
}

/// Partial softmaxes of a group of samples and how they are merged: online softmax
/// (Milakov and Gimelshein, arXiv 1805.02867) along a fixed tree.
struct PartialSoftmax {
    let samples: Int
    let microBatchSize: Int
    let embeddingSize: Int

    /// The steps that give the value at `node` from `parts`, and the slot it ends in.
    ///
    /// - Parameters:
    ///   - writable: slots below this number may be overwritten by a result; others belong to someone else.
    ///   - newSlot: makes a slot for a result that may not overwrite its left operand.
    /// - Returns: nil if a leaf below `node` is missing.
    static func plan(
        _ tree: ReductionTree, _ parts: [ReductionTree.Node: Int], at node: ReductionTree.Node, writable: Int,
        steps: inout [MergeStep], newSlot: () -> Int
    ) -> Int? {
        var made: Set<Int> = []
        return tree.combine(parts, at: node) { _, left, right in
            let out: Int
            if left < writable || made.contains(left) {
                out = left
            } else {
                out = newSlot()
                made.insert(out)
            }
            steps.append(MergeStep(left: left, right: right, out: out))
            return out
        }
    }

    /// Carries out the steps, one micro-batch per block.
    func merge(_ slots: [PartialSlot], _ steps: [MergeStep], parallel: ParallelBlocks) {
        if steps.isEmpty { return }
        parallel.forEach(samples / microBatchSize) { [microBatchSize, embeddingSize] block, _ in
            let first = block * microBatchSize
            let wide = first * embeddingSize
            for step in steps {
                let (a, b, out) = (slots[step.left], slots[step.right], slots[step.out])
                pfc_head_merge(
                    microBatchSize, embeddingSize, a.maximum + first, a.sum + first, a.numerator + wide,
                    b.maximum + first, b.sum + first, b.numerator + wide, out.maximum + first, out.sum + first,
                    out.numerator + wide)
            }
        }
    }
}
