internal import CInference
public import Determinism
internal import Model
public import Tensors

/// One layer by itself on many samples, for calibration: what an `InferenceNetwork` computes for it, bit for bit.
public struct LayerRunner: Sendable {
    private let layer: FoldedLayer
    private let kernels: InferenceKernels
    private let blocks: ParallelBlocks
    private let prepared: PreparedLayer?
    private let unfolded: UnfoldedStep?
    private let epilogue: Epilogue
    private let input: Encoding?

    /// Rows that threads take at a time.
    private static let rowUnit = 96

    /// - Parameters:
    ///   - inputs: extents of the layer's inputs.
    ///   - integers: nil to compute in single precision.
    public init(
        _ layer: FoldedLayer, inputs: [Extents], integers: IntegerLayer? = nil, kernels: InferenceKernels,
        blocks: ParallelBlocks
    ) {
        self.layer = layer
        self.kernels = kernels
        self.blocks = blocks
        input = integers?.input
        switch layer.operation {
        case .weighted(let weighted):
            let prepared = PreparedLayer(
                weighted, integers: integers, first: layer.first, second: layer.second, kernels: kernels)
            self.prepared = prepared
            epilogue = prepared.epilogue
            unfolded = nil
        case .scale(let factor, let summand):
            prepared = nil
            unfolded = nil
            epilogue = Epilogue(scale: factor, bias: summand, first: layer.first, second: layer.second)
        case .other(let operation):
            prepared = nil
            unfolded = UnfoldedStep(operation: operation, inputs: inputs, output: layer.extents)
            epilogue = Epilogue()
        }
    }

    /// The codes u8 [samples·pixels, padded channels] of f32 [samples·pixels, channels].
    public static func encode(
        _ x: Tensor, channels: Int, _ encoding: Encoding, kernels: InferenceKernels, blocks: ParallelBlocks
    ) -> Tensor {
        let rows = x.count / channels
        let format = ValueFormat.codes(encoding)
        let sink = ResultSink(buffer: 0, format: format, channels: channels)
        let codes = Tensor(uninitialized: UInt8.self, shape: [rows, format.stride(channels: channels)])
        nonisolated(unsafe) let (source, target) = (x.rawPointer, codes.rawPointer)
        let size = max(rowUnit, (rows / (4 * blocks.threads) + 1))
        blocks.forEach((rows + size - 1) / size) { part, _ in
            var epilogue = pfi_epilogue()
            epilogue.setSinks([sink.description(target)])
            pfi_rows_f32(
                kernels.isa, channels, source.assumingMemoryBound(to: Float.self), channels, &epilogue, part * size,
                min(rows, (part + 1) * size))
        }
        return codes
    }

    /// The layer's result f32 [samples, pixels, channels], of f32 or, in integers, codes that `encode` made.
    public func run(_ inputs: [Tensor], residual: Tensor? = nil, samples: Int) -> Tensor {
        let extents = layer.extents
        let result = Tensor(uninitialized: Float.self, shape: [samples, extents.pixels, extents.channels])
        var source = inputs
        if let input, inputs[0].dtype == .f32, let weighted = layer.weighted {
            source[0] = Self.encode(
                inputs[0], channels: weighted.input.channels, input, kernels: kernels, blocks: blocks)
        }
        nonisolated(unsafe) let pointers = source.map(\.rawPointer)
        nonisolated(unsafe) let (target, addend) = (result.rawPointer, residual?.rawPointer)
        let output = ResultSink(buffer: 0, format: .floats, channels: extents.channels)
        let total = samples * (prepared?.rows ?? (unfolded == nil ? extents.pixels : 1))
        let unit = prepared?.rowUnit ?? (unfolded == nil ? Self.rowUnit : 1)
        let size = max(unit, (total / (4 * blocks.threads) + unit) / unit * unit)
        let scratch = (0..<blocks.threads).map { _ in AlignedMemory(byteCount: prepared?.scratchBytes ?? 0) }
        blocks.forEach((total + size - 1) / size) { [self] part, thread in
            let range = part * size..<min(total, (part + 1) * size)
            if let unfolded {
                unfolded.run(
                    pointers.map { UnsafePointer($0.assumingMemoryBound(to: Float.self)) },
                    target.assumingMemoryBound(to: Float.self), range)
                return
            }
            var description = epilogue.description
            if let addend {
                description.residual = UnsafePointer(addend.assumingMemoryBound(to: Float.self))
                description.residual_stride = extents.channels
            }
            description.setSinks([output.description(target)])
            if let prepared {
                prepared.run(pointers[0], images: samples, &description, scratch: scratch[thread], range)
            } else {
                pfi_rows_f32(
                    kernels.isa, extents.channels, pointers[0].assumingMemoryBound(to: Float.self), extents.channels,
                    &description, range.lowerBound, range.upperBound)
            }
        }
        return result
    }
}
