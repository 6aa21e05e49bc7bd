internal import CInference
public import Determinism
internal import Model
public import Tensors

/// A network ready to embed images: in single precision, in integers, or layer by layer in either.
///
/// Its results are the same bits on every processor, for any number of threads and any grouping of images. Its memory is planned
/// when it is made; nothing is allocated for an image.
public final class InferenceNetwork: @unchecked Sendable {
    public let network: FoldedNetwork
    private let plan: InferencePlan
    private let memory: MemoryPlan
    private let blocks: ParallelBlocks
    /// Images that a thread computes together.
    public let groupSize: Int
    // Used by one caller at a time.
    private var arenas: [AlignedMemory] = []
    /// For the kernels of each thread.
    private let scratch: [AlignedMemory]

    /// - Parameters:
    ///   - integers: by layer of the network; nil where a layer is computed in single precision. Empty: all are.
    ///   - groupSize: images that a thread computes together.
    public init(
        _ network: FoldedNetwork, integers: [IntegerLayer?] = [], kernels: InferenceKernels, blocks: ParallelBlocks,
        groupSize: Int = 4
    ) {
        self.network = network
        self.blocks = blocks
        self.groupSize = max(1, groupSize)
        let none = [IntegerLayer?](repeating: nil, count: network.layers.count)
        plan = InferencePlan(network, integers: integers.isEmpty ? none : integers, kernels: kernels)
        memory = plan.memory(images: self.groupSize)
        let scratchBytes = plan.scratchBytes
        scratch = (0..<blocks.threads).map { _ in AlignedMemory(byteCount: scratchBytes) }
    }

    /// Embeds images f32 [n, height, width, channels]: f32 [n, D], not normalised. One call at a time.
    ///
    /// - Precondition: the images have the network's extents.
    public func embed(_ images: Tensor) -> Tensor {
        let count = images.shape[0]
        precondition(images.dtype == .f32 && images.count == count * network.input.count, "images of another shape")
        let result = Tensor(uninitialized: Float.self, shape: [count, network.embeddingSize])
        let groups = (count + groupSize - 1) / groupSize
        let threads = groups >= blocks.threads ? blocks.threads : 1
        while arenas.count < threads { arenas.append(AlignedMemory(byteCount: memory.count * 4)) }
        func run(_ group: Int, _ arena: AlignedMemory, _ thread: Int?) {
            let range = group * groupSize..<min(count, (group + 1) * groupSize)
            let places = places(images, result, arena, first: range.lowerBound)
            for step in plan.steps {
                if let thread {
                    step.run(places, images: range.count, scratch: scratch[thread])
                } else {
                    step.run(places, images: range.count, scratch: scratch, sharing: blocks)
                }
            }
        }
        if threads > 1 || blocks.threads == 1 {
            nonisolated(unsafe) let run = run
            blocks.forEach(groups) { [arenas] group, thread in run(group, arenas[thread], thread) }
        } else {
            // Too few images for every thread to have its own: they share the rows of every step.
            for group in 0..<groups { run(group, arenas[0], nil) }
        }
        return result
    }

    /// Where every buffer lies for a group of images from `first` on.
    private func places(
        _ images: Tensor, _ result: Tensor, _ arena: AlignedMemory, first: Int
    ) -> [UnsafeMutableRawPointer] {
        plan.buffers.indices.map { buffer in
            switch buffer {
            case 0: images.rawPointer + first * plan.buffers[0]
            case plan.output: result.rawPointer + first * plan.buffers[plan.output]
            default: arena.pointer + memory.offsets[buffer] * 4
            }
        }
    }

    /// The median time of every step over passes of one thread, for one group of images.
    func stepTimes(_ images: Tensor, repetitions: Int) -> [(
        layer: Int, isWeighted: Bool, isWinograd: Bool, seconds: Double
    )] {
        let count = images.shape[0]
        precondition(count <= groupSize && images.count == count * network.input.count, "images of another shape")
        let result = Tensor(uninitialized: Float.self, shape: [count, network.embeddingSize])
        let arena = AlignedMemory(byteCount: memory.count * 4)
        let places = places(images, result, arena, first: 0)
        let alone = ParallelBlocks(threads: 1)
        var times = [[Duration]](repeating: [], count: plan.steps.count)
        for _ in 0..<max(1, repetitions) {
            for (position, step) in plan.steps.enumerated() {
                times[position].append(
                    ContinuousClock().measure { step.run(places, images: count, scratch: scratch, sharing: alone) })
            }
        }
        return zip(plan.steps, times).map { step, times in
            let seconds = times.sorted()[times.count / 2] / .seconds(1)
            guard case .weighted(let layer) = step.kernel else { return (step.layer, false, false, seconds) }
            return (step.layer, true, layer.isWinograd, seconds)
        }
    }
}

extension InferencePlan.Step {
    /// Computes all rows on threads that share them.
    ///
    /// - Parameter scratch: memory for each thread.
    func run(
        _ places: [UnsafeMutableRawPointer], images: Int, scratch: [AlignedMemory], sharing: ParallelBlocks
    ) {
        let total = images * rows
        let parts = min(sharing.threads, (total + rowUnit - 1) / rowUnit)
        let share = (total + parts - 1) / parts
        let size = (share + rowUnit - 1) / rowUnit * rowUnit
        nonisolated(unsafe) let places = places
        sharing.forEach((total + size - 1) / size) { part, thread in
            run(
                places, images: images, scratch: scratch[thread], rows: part * size..<min(total, (part + 1) * size))
        }
    }

    /// Computes all rows on the calling thread.
    func run(_ places: [UnsafeMutableRawPointer], images: Int, scratch: AlignedMemory) {
        run(places, images: images, scratch: scratch, rows: 0..<images * rows)
    }

    private func run(
        _ places: [UnsafeMutableRawPointer], images: Int, scratch: AlignedMemory, rows: Range<Int>
    ) {
        func prepared(_ epilogue: Epilogue) -> pfi_epilogue {
            var result = epilogue.description
            if let residual {
                result.residual = UnsafePointer(places[residual.buffer].assumingMemoryBound(to: Float.self))
                result.residual_stride = residual.channels
            }
            result.setSinks(sinks.map { $0.description(places[$0.buffer]) })
            return result
        }
        switch kernel {
        case .weighted(let layer):
            var epilogue = prepared(layer.epilogue)
            layer.run(places[inputs[0]], images: images, &epilogue, scratch: scratch, rows)
        case .rows(let own, _, let channels, let isa):
            var epilogue = prepared(own)
            pfi_rows_f32(
                isa, channels, places[inputs[0]].assumingMemoryBound(to: Float.self), channels, &epilogue,
                rows.lowerBound, rows.upperBound)
        case .unfolded(let step):
            step.run(
                inputs.map { UnsafePointer(places[$0].assumingMemoryBound(to: Float.self)) },
                places[sinks[0].buffer].assumingMemoryBound(to: Float.self), rows)
        }
    }
}
