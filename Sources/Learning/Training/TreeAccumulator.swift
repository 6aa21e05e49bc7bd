internal import CKernels
internal import Determinism
internal import Model
internal import Synchronization
internal import Tensors

/// Sums the gradients of a range of micro-batches along the micro-batch tree, as they come, from any thread.
///
/// A finished node waits until its sibling is finished too; whoever comes second adds. Which thread that is changes
/// nothing: the operands are the same. At most about threads + log₂ M gradients wait at a time.
final class TreeAccumulator: Sendable {
    let tree: ReductionTree
    let microBatches: Range<Int>
    /// The subtrees whose sums are the result.
    let nodes: [ReductionTree.Node]
    /// The sums: f32 [K, elements].
    let result: Tensor
    private let elements: Int
    private let rounding: DenseGradientRounding?
    private let waiting: Mutex<Waiting>

    private struct Waiting {
        var done: [ReductionTree.Node: Slot] = [:]
        var free: [FloatMemory] = []
    }

    /// - Parameters:
    ///   - spare: memory of `elements` floats each, to use before any is allocated.
    ///   - rounding: how the sums are rounded, the micro-batches' own included.
    init(
        tree: ReductionTree, microBatches: Range<Int>, elements: Int, spare: [FloatMemory],
        rounding: DenseGradientRounding? = nil
    ) {
        self.rounding = rounding
        self.tree = tree
        self.microBatches = microBatches
        self.elements = elements
        waiting = Mutex(Waiting(free: spare))
        nodes = tree.subtrees(of: microBatches)
        result = Tensor(uninitialized: Float.self, shape: [nodes.count, elements])
    }

    /// Memory that can be used again, once all is finished.
    var spare: [FloatMemory] { waiting.withLock { $0.free } }

    /// Where the gradient of one micro-batch is to be written. The first leaf of a result writes into the result itself,
    /// since sums are kept in their left operand.
    func begin(_ microBatch: Int) -> Slot {
        if let row = nodes.firstIndex(where: { tree.leaves(of: $0).lowerBound == microBatch }) {
            return Slot(
                microBatch: microBatch, memory: nil, pointer: result.mutable(Float.self).baseAddress! + row * elements)
        }
        let memory = waiting.withLock { $0.free.popLast() } ?? FloatMemory(count: elements)
        return Slot(microBatch: microBatch, memory: memory, pointer: memory.pointer)
    }

    /// The gradient of a micro-batch, or the sum of several. `memory` is nil if it lies in the result.
    struct Slot: @unchecked Sendable {
        let microBatch: Int
        let memory: FloatMemory?
        let pointer: Floats
    }

    /// The gradient in `slot` is complete: adds up what has become ready.
    func finish(_ slot: Slot) {
        var node = ReductionTree.Node(level: 0, index: slot.microBatch)
        var sum = slot
        rounding?.round(sum.pointer, of: node, elements: [0..<elements])
        while !nodes.contains(node) {
            let sibling = ReductionTree.Node(level: node.level, index: node.index ^ 1)
            let parent = ReductionTree.Node(level: node.level + 1, index: node.index >> 1)
            if !tree.leaves(of: sibling).isEmpty {
                let (mine, here) = (sum, node)
                let ready: Slot? = waiting.withLock { state in
                    if let ready = state.done.removeValue(forKey: sibling) { return ready }
                    state.done[here] = mine
                    return nil
                }
                guard let ready else { return }
                let (left, right) = node < sibling ? (sum, ready) : (ready, sum)
                pfc_add(left.pointer, right.pointer, elements)
                rounding?.round(left.pointer, of: parent, elements: [0..<elements])
                if let memory = right.memory { waiting.withLock { $0.free.append(memory) } }
                sum = left
            }
            node = parent
        }
    }
}
