internal import CKernels
internal import Model

/// A graph compiled for micro-batches of g samples: kernels, and the plan of their memory, without any values.
///
/// Immutable and shared by all threads. What the backward pass reads again lives in a `FloatMemory` context per micro-batch, the
/// rest in the memory of the thread, weights in `PackedParameters`.
final class Network: Sendable {
    let layout: ParameterLayout
    let batch: Int
    /// In the order of execution.
    private let stages: [Stage]
    private let steps: [BackwardStep]
    /// Where every value lies.
    private let values: [Place]
    /// Where what a kernel keeps lies in a context.
    private let states: [Int]
    /// Where gradients lie in the memory of the thread.
    private let gradients: [Int]
    /// Parameters that no kernel writes a gradient of.
    private let untrained: [Range<Int>]
    /// The numbers of the input's and the output's value.
    private let input: Int
    private let output: Int
    /// Floats of a context, and of the memory that a thread needs.
    let contextCount: Int
    let arenaCount: Int

    /// A place in a context, or in the memory of the thread.
    private enum Place {
        case context(Int)
        case thread(Int)
    }

    /// The backward pass of one stage.
    private struct BackwardStep {
        let stage: Int
        /// ∂loss/∂output: a gradient by number; 0 is the one that the network was given.
        let output: Int
        /// Where each input's gradient is written; nil where it is not needed, or passed on as it is.
        var inputs: [Int?]
        /// What the kernel adds to the first.
        var other: Int?
        /// Sums of `count` floats that are due afterwards: left += right, or left = right where `isFirst`.
        var sums: [(left: Int, right: Int, isFirst: Bool, count: Int)] = []
    }

    /// - Throws: `BackboneError` if oneDNN cannot run a layer, or if a statistic would be over one value.
    init(_ graph: Graph, _ layout: ParameterLayout, batch: Int, dropout: Dropout, compute: BackboneCompute)
        throws(BackboneError)
    {
        guard batch >= 2 else {
            throw BackboneError(
                .invalidConfiguration, "micro-batches of \(batch) samples: batch normalisation needs at least 2")
        }
        KernelThread.enter()
        self.layout = layout
        self.batch = batch
        let compiled = try StageCompiler(graph, layout, batch: batch, dropout: dropout, compute: compute)
        let stages = compiled.stages
        self.stages = stages
        (input, output) = (compiled.input, compiled.output)
        let sizes = compiled.sizes.map { $0 * batch }

        // What is read again in the backward pass stays in the context.
        var isKept = [Bool](repeating: false, count: sizes.count)
        var lastUse = [Int](repeating: 0, count: sizes.count)
        var made = lastUse
        for (position, stage) in stages.enumerated() {
            made[stage.output] = position
            lastUse[stage.output] = max(lastUse[stage.output], position)
            if stage.kernel.readsOutputAgain { isKept[stage.output] = true }
            for (index, value) in stage.inputs.enumerated() {
                lastUse[value] = position
                if stage.kernel.readsAgain(input: index) { isKept[value] = true }
            }
        }
        lastUse[output] = stages.count
        var context = 0
        func reserve(_ floats: Int) -> Int {
            defer { context += (floats + 15) / 16 * 16 }
            return context
        }
        states = stages.map { reserve($0.kernel.stateCount) }
        let passing = sizes.indices.filter { !isKept[$0] }
        let forward = MemoryPlan(passing.map { .init(count: sizes[$0], lifetime: made[$0]...lastUse[$0]) })
        var values = isKept.indices.map { Place.context(isKept[$0] ? reserve(sizes[$0]) : 0) }
        for (index, value) in passing.enumerated() { values[value] = .thread(forward.offsets[index]) }
        self.values = values
        contextCount = context

        let (steps, regions) = Self.plan(compiled, sizes)
        self.steps = steps
        let backward = MemoryPlan(regions)
        gradients = backward.offsets
        arenaCount = max(forward.count, backward.count)
        let written = Set(steps.flatMap { stages[$0.stage].parameters.map(\.index) })
        untrained = layout.segments.filter {
            $0.kind == .frozen || $0.kind == .parameter && !written.contains($0.index)
        }.map(\.range)
    }

    /// Walks the stages backwards: which gradients there are, where they are added, and how long each is used.
    private static func plan(
        _ compiled: StageCompiler, _ sizes: [Int]
    ) -> (steps: [BackwardStep], regions: [MemoryPlan.Region]) {
        var steps: [BackwardStep] = []
        /// Each gradient's floats, and the steps of its first and last use. The first is not ours.
        var regions = [(count: 0, first: 0, last: 0)]
        /// The gradient of every value so far.
        var gradient = [compiled.output: 0]
        func new(_ value: Int, _ step: Int) -> Int {
            regions.append((sizes[value], step, step))
            return regions.count - 1
        }
        for (position, stage) in compiled.stages.enumerated().reversed() {
            guard let dy = gradient[stage.output], compiled.isTrained(stage.output) else { continue }
            let time = steps.count
            var step = BackwardStep(
                stage: position, output: dy, inputs: [Int?](repeating: nil, count: stage.inputs.count))
            regions[dy].last = time
            let order = stage.inputs.indices.sorted {
                (stage.kernel.passesGradient(to: $0) ? 0 : 1, $0) < (stage.kernel.passesGradient(to: $1) ? 0 : 1, $1)
            }
            for index in order where compiled.isTrained(stage.inputs[index]) {
                let value = stage.inputs[index]
                let before = gradient[value]
                if let before { regions[before].last = time }
                if stage.kernel.passesGradient(to: index) {
                    guard let before else {
                        gradient[value] = dy
                        continue
                    }
                    // Its own memory, because both summands may be in use elsewhere.
                    let sum = new(value, time)
                    step.sums.append((sum, before, true, sizes[value]))
                    step.sums.append((sum, dy, false, sizes[value]))
                    gradient[value] = sum
                    continue
                }
                let own = new(value, time)
                step.inputs[index] = own
                gradient[value] = own
                guard let before else { continue }
                if index == 0, stage.kernel.addsGradient {
                    step.other = before
                } else {
                    step.sums.append((own, before, false, sizes[value]))
                }
            }
            steps.append(step)
        }
        return (steps, regions.map { .init(count: $0.count, lifetime: $0.first...$0.last) })
    }

    /// Where no random number is drawn.
    private static let nowhere = BatchPlace(step: 0, position: 0)

    /// Every layer with weights, in a fixed order.
    var operators: [WeightedOperator] { stages.compactMap(\.kernel.weighted) }

    /// Memory for one compute thread.
    func makeThread() throws(BackboneError) -> KernelThread {
        try KernelThread(
            arenaCount: arenaCount, packedGradientCount: operators.map(\.packedGradientCount).max() ?? 0,
            channels: stages.map(\.kernel.workChannels).max() ?? 0,
            halvesCount: operators.map(\.halfGradientCount).max() ?? 0)
    }

    private func pointer(_ value: Int, _ context: FloatMemory, _ thread: KernelThread) -> Floats {
        switch values[value] {
        case .context(let offset): context.pointer + offset
        case .thread(let offset): thread.arena.pointer + offset
        }
    }

    /// Where the input goes before `forward`: images as NHWC.
    func input(_ context: FloatMemory, _ thread: KernelThread) -> Floats { pointer(input, context, thread) }

    /// The embeddings [g,D] of the input, valid until the thread does anything else.
    ///
    /// In training, statistics are over the micro-batch, and the context afterwards holds what `backward` needs.
    ///
    /// - Parameter place: of the micro-batch's first sample; nil where the network is used, with the running statistics.
    func forward(
        _ context: FloatMemory, _ parameters: PackedParameters, training place: BatchPlace?, on thread: KernelThread
    ) throws(BackboneError) -> Floats {
        for (position, stage) in stages.enumerated() {
            let pass = KernelPass(
                parameters: parameters, training: place != nil, thread: thread,
                state: context.pointer + states[position], place: place ?? Self.nowhere)
            try stage.kernel.forward(
                pass, stage.inputs.map { pointer($0, context, thread) }, pointer(stage.output, context, thread))
        }
        return pointer(output, context, thread)
    }

    /// The gradient of every parameter from ∂loss/∂embeddings [g,D], after `forward` in training: P floats.
    func backward(
        _ embeddingGradient: Floats, _ context: FloatMemory, _ parameters: PackedParameters, gradient: Floats,
        on thread: KernelThread
    ) throws(BackboneError) {
        func place(_ number: Int) -> Floats {
            number == 0 ? embeddingGradient : thread.arena.pointer + gradients[number]
        }
        func pass(_ stage: Int) -> KernelPass {
            KernelPass(
                parameters: parameters, training: true, thread: thread, state: context.pointer + states[stage],
                place: Self.nowhere)
        }
        for range in untrained { (gradient + range.lowerBound).update(repeating: 0, count: range.count) }
        for (position, stage) in stages.enumerated() { stage.kernel.writeStatistics(pass(position), gradient) }
        for step in steps {
            let stage = stages[step.stage]
            let inputs = stage.inputs.enumerated().map { index, value in
                stage.kernel.readsAgain(input: index) ? pointer(value, context, thread) : nil
            }
            try stage.kernel.backward(
                pass(step.stage),
                KernelValues(
                    inputs: inputs,
                    output: stage.kernel.readsOutputAgain ? pointer(stage.output, context, thread) : nil),
                KernelGradients(
                    output: place(step.output), inputs: step.inputs.map { $0.map { place($0) } },
                    other: step.other.map { place($0) }, parameters: gradient))
            for sum in step.sums {
                if sum.isFirst {
                    place(sum.left).update(from: place(sum.right), count: sum.count)
                } else {
                    pfc_add(place(sum.left), place(sum.right), sum.count)
                }
            }
        }
    }
}
