internal import CInference

/// What follows a layer's sums, at fixed addresses: scale, bias, activations.
struct Epilogue: Sendable {
    private let scale: AlignedMemory?
    private let bias: AlignedMemory?
    private let slopes: [AlignedMemory?]
    private let activations: [ChannelActivation]

    /// - Parameters are by output channel.
    init(
        scale: [Float]? = nil, bias: [Float]? = nil, first: ChannelActivation = .none, second: ChannelActivation = .none
    ) {
        self.scale = scale.map(AlignedMemory.init)
        self.bias = bias.map(AlignedMemory.init)
        activations = [first, second]
        slopes = activations.map { if case .prelu(let slopes) = $0 { AlignedMemory(slopes) } else { nil } }
    }

    /// For the kernels, without residual and sinks.
    var description: pfi_epilogue {
        var result = pfi_epilogue()
        result.scale = scale.map { UnsafePointer($0.of(Float.self)) }
        result.bias = bias.map { UnsafePointer($0.of(Float.self)) }
        result.first = activation(0)
        result.second = activation(1)
        return result
    }

    private func activation(_ index: Int) -> pfi_activation {
        switch activations[index] {
        case .none: pfi_activation(kind: PFI_NONE, slope: nil, low: 0, high: 0)
        case .prelu:
            pfi_activation(
                kind: PFI_PRELU, slope: slopes[index].map { UnsafePointer($0.of(Float.self)) }, low: 0, high: 0)
        case .clip(let low, let high): pfi_activation(kind: PFI_CLIP, slope: nil, low: low, high: high)
        }
    }
}

/// How a value lies in memory.
enum ValueFormat: Sendable, Hashable {
    case floats
    case codes(Encoding)

    /// Elements from one pixel to the next.
    func stride(channels: Int) -> Int { self == .floats ? channels : Self.paddedChannels(channels) }

    /// Bytes of codes lie in groups of four, as kernels read them.
    static func paddedChannels(_ channels: Int) -> Int { (channels + 3) / 4 * 4 }

    func byteCount(_ extents: Extents) -> Int {
        extents.pixels * stride(channels: extents.channels) * (self == .floats ? 4 : 1)
    }
}

/// Where results of a step go: a buffer, in a format, scaled before if a normalisation stands between.
struct ResultSink: Sendable {
    let buffer: Int
    let format: ValueFormat
    let channels: Int
    var factor: AlignedMemory?
    var summand: AlignedMemory?

    func description(_ data: UnsafeMutableRawPointer) -> pfi_sink {
        var sink = pfi_sink()
        sink.kind = PFI_FLOATS
        sink.data = data
        sink.stride = format.stride(channels: channels)
        sink.factor = factor.map { UnsafePointer($0.of(Float.self)) }
        sink.summand = summand.map { UnsafePointer($0.of(Float.self)) }
        if case .codes(let encoding) = format {
            sink.kind = PFI_CODES
            sink.scale = encoding.scale
            (sink.low, sink.high) = encoding.range
            sink.zero = Int32(encoding.zeroByte)
            sink.padded = sink.stride
        }
        return sink
    }
}

extension pfi_epilogue {
    /// The most sinks of one pass.
    static let sinkLimit = 4

    mutating func setSinks(_ descriptions: [pfi_sink]) {
        sink_count = descriptions.count
        withUnsafeMutableBytes(of: &sinks) { bytes in
            let target = bytes.bindMemory(to: pfi_sink.self)
            for (index, description) in descriptions.enumerated() { target[index] = description }
        }
    }
}
