internal import CInference
internal import Model

/// A folded network as steps over buffers: what each value is stored as, and where.
struct InferencePlan: Sendable {
    /// One pass of a kernel.
    struct Step: Sendable {
        enum Kernel: Sendable {
            case weighted(PreparedLayer)
            /// Epilogue alone, over floats.
            case rows(Epilogue, pixels: Int, channels: Int, pfi_isa)
            case unfolded(UnfoldedStep)
        }

        /// The layer that it is a part of.
        let layer: Int
        let kernel: Kernel
        let inputs: [Int]
        var residual: (buffer: Int, channels: Int)?
        let sinks: [ResultSink]

        /// Rows of an image.
        var rows: Int {
            switch kernel {
            case .weighted(let layer): layer.rows
            case .rows(_, let pixels, _, _): pixels
            case .unfolded: 1
            }
        }

        /// Rows that threads take at a time.
        var rowUnit: Int {
            switch kernel {
            case .weighted(let layer): layer.rowUnit
            case .rows: 48
            case .unfolded: 1
            }
        }
    }

    private(set) var steps: [Step] = []
    /// Bytes of an image in each buffer; buffer 0 is the network's input.
    private(set) var buffers: [Int] = []
    private(set) var output = 0
    private var places: [Int: [ValueFormat: Int]] = [:]

    private struct Reader {
        let format: ValueFormat
        let value: Int
        var factor: AlignedMemory?
        var summand: AlignedMemory?
    }

    /// - Parameter integers: by layer; nil where a layer is computed in single precision.
    init(_ network: FoldedNetwork, integers: [IntegerLayer?], kernels: InferenceKernels) {
        let layers = network.layers
        // Normalisations that become a factor of what the layer before writes.
        let fused = layers.indices.map { i -> Bool in
            let layer = layers[i]
            guard case .scale = layer.operation, layer.first == .none, layer.residual == nil, layer.second == .none,
                let source = layer.inputs.first, source > 0
            else { return false }
            if case .other = layers[source - 1].operation { return false }
            return true
        }
        // One whose layer before is fused itself, and so has no step, is not. Layers come after those that they read.
        var isFusedLayer = fused
        for i in layers.indices where fused[i] {
            let source = layers[i].inputs[0]
            isFusedLayer[i] = !(source > 0 && isFusedLayer[source - 1])
        }
        let isFused = { (layer: Int) in isFusedLayer[layer] }

        var formats = [[ValueFormat]](repeating: [], count: layers.count + 1)
        func need(_ format: ValueFormat, of value: Int) {
            if !formats[value].contains(format) { formats[value].append(format) }
        }
        need(.floats, of: network.output)
        for (i, layer) in layers.enumerated() where !isFused(i) {
            let format = integers[i].map { ValueFormat.codes($0.input) } ?? .floats
            for input in layer.inputs { need(layer.weighted == nil ? .floats : format, of: input) }
            if let residual = layer.residual { need(.floats, of: residual) }
        }
        let consumers = network.consumers

        func buffer(_ value: Int, _ format: ValueFormat) -> Int {
            if let known = places[value]?[format] { return known }
            buffers.append(format.byteCount(network.extents(of: value)))
            places[value, default: [:]][format] = buffers.count - 1
            return buffers.count - 1
        }
        func readers(of value: Int) -> [Reader] {
            var result = formats[value].map { Reader(format: $0, value: value) }
            for consumer in consumers[value] where isFused(consumer) {
                guard case .scale(let factor, let summand) = layers[consumer].operation else { continue }
                let (a, b) = (AlignedMemory(factor), AlignedMemory(summand))
                result += formats[consumer + 1].map {
                    Reader(format: $0, value: consumer + 1, factor: a, summand: b)
                }
            }
            return result
        }
        func sink(_ reader: Reader) -> ResultSink {
            ResultSink(
                buffer: buffer(reader.value, reader.format), format: reader.format,
                channels: network.extents(of: reader.value).channels, factor: reader.factor, summand: reader.summand)
        }
        /// Steps that write readers of a value whose floats are there.
        func copy(_ readers: [Reader], of value: Int, layer: Int) {
            let extents = network.extents(of: value)
            for start in stride(from: 0, to: readers.count, by: pfi_epilogue.sinkLimit) {
                steps.append(
                    Step(
                        layer: layer,
                        kernel: .rows(Epilogue(), pixels: extents.pixels, channels: extents.channels, kernels.isa),
                        inputs: [buffer(value, .floats)], residual: nil,
                        sinks: readers[start..<min(readers.count, start + pfi_epilogue.sinkLimit)].map(sink)))
            }
        }

        _ = buffer(0, .floats)
        copy(readers(of: 0).filter { $0.value != 0 || $0.format != .floats }, of: 0, layer: 0)
        for (i, layer) in layers.enumerated() where !isFused(i) {
            let value = i + 1
            var own = readers(of: value)
            if own.isEmpty { continue }
            var others: [Reader] = []
            let isOther = if case .other = layer.operation { true } else { false }
            if isOther || own.count > pfi_epilogue.sinkLimit {
                let floats = Reader(format: .floats, value: value)
                others = own.filter { !($0.value == value && $0.format == .floats) }
                own = [floats]
            }
            let inputs: [Int]
            let kernel: Step.Kernel
            switch layer.operation {
            case .weighted(let weighted):
                let format = integers[i].map { ValueFormat.codes($0.input) } ?? .floats
                inputs = [buffer(layer.inputs[0], format)]
                kernel = .weighted(
                    PreparedLayer(
                        weighted, integers: integers[i], first: layer.first, second: layer.second, kernels: kernels))
            case .scale(let factor, let summand):
                inputs = [buffer(layer.inputs[0], .floats)]
                kernel = .rows(
                    Epilogue(scale: factor, bias: summand, first: layer.first, second: layer.second),
                    pixels: layer.extents.pixels, channels: layer.extents.channels, kernels.isa)
            case .other(let operation):
                inputs = layer.inputs.map { buffer($0, .floats) }
                kernel = .unfolded(
                    UnfoldedStep(
                        operation: operation, inputs: layer.inputs.map(network.extents), output: layer.extents))
            }
            let residual = layer.residual.map { (buffer: buffer($0, .floats), channels: layer.extents.channels) }
            steps.append(
                Step(layer: i, kernel: kernel, inputs: inputs, residual: residual, sinks: own.map(sink)))
            copy(others, of: value, layer: i)
        }
        output = buffer(network.output, .floats)
    }

    /// Bytes that a thread needs beside its buffers.
    var scratchBytes: Int {
        steps.reduce(0) {
            if case .weighted(let layer) = $1.kernel { max($0, layer.scratchBytes) } else { $0 }
        }
    }

    /// Where each buffer but the input lies for up to `images` images, in units of 4 bytes.
    func memory(images: Int) -> MemoryPlan {
        var lifetimes = [ClosedRange<Int>?](repeating: nil, count: buffers.count)
        for (position, step) in steps.enumerated() {
            for buffer in step.inputs + (step.residual.map { [$0.buffer] } ?? []) + step.sinks.map(\.buffer) {
                let known = lifetimes[buffer] ?? position...position
                lifetimes[buffer] = min(known.lowerBound, position)...max(known.upperBound, position)
            }
        }
        return MemoryPlan(
            buffers.indices.map { buffer in
                let isOutside = buffer == 0 || buffer == output
                return .init(
                    count: isOutside ? 0 : (buffers[buffer] * images + 3) / 4, lifetime: lifetimes[buffer] ?? 0...0)
            })
    }
}
