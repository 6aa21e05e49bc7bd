internal import Determinism
internal import Model
internal import Synchronization
internal import Tensors

/// One version of the parameters: the flat vector, and the weights in the layouts that oneDNN's kernels want.
final class PackedParameters: @unchecked Sendable {
    /// The flat vector f32 [P].
    let tensor: Tensor
    private let memory: FloatMemory
    private let places: [ObjectIdentifier: (forward: Int, backward: Int)]

    var flat: Floats { tensor.mutable(Float.self).baseAddress! }
    var memoryBytes: Int { tensor.byteCount + memory.byteCount }

    /// Packs `tensor`, layer by layer on all threads. `memory` of a version that is no longer used is taken over.
    init(
        _ tensor: Tensor, for network: Network, blocks: ParallelBlocks, threads: [KernelThread],
        reusing old: PackedParameters?
    ) throws(BackboneError) {
        self.tensor = tensor
        var count = 0
        func reserve(_ floats: Int) -> Int {
            defer { count += (floats + 15) / 16 * 16 }
            return count
        }
        var places: [ObjectIdentifier: (forward: Int, backward: Int)] = [:]
        let operators = network.operators
        for layer in operators {
            places[ObjectIdentifier(layer)] = (reserve(layer.packedForwardCount), reserve(layer.packedBackwardCount))
        }
        self.places = places
        memory = old?.memory ?? FloatMemory(count: count)
        let failure = FirstFailure()
        blocks.forEach(operators.count) { [self] block, thread in
            KernelThread.enter()
            failure.run { () throws(BackboneError) in
                let layer = operators[block]
                try layer.pack(flat, forward: forward(layer), backward: backward(layer), on: threads[thread])
            }
        }
        try failure.check()
    }

    /// A layer's weights, packed for the forward pass.
    func forward(_ layer: WeightedOperator) -> Floats { memory.pointer + places[ObjectIdentifier(layer)]!.forward }

    /// A layer's weights, packed for the gradient of its input.
    func backward(_ layer: WeightedOperator) -> Floats { memory.pointer + places[ObjectIdentifier(layer)]!.backward }
}

/// Remembers the first error of blocks that run on several threads.
final class FirstFailure: Sendable {
    private let error = Mutex<BackboneError?>(nil)

    /// Runs `body`, unless something failed already.
    func run(_ body: () throws(BackboneError) -> Void) {
        if error.withLock({ $0 != nil }) { return }
        do throws(BackboneError) { try body() } catch { self.error.withLock { $0 = $0 ?? error } }
    }

    func check() throws(BackboneError) {
        if let error = error.withLock({ $0 }) { throw error }
    }
}
