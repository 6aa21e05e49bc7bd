extension Graph {
    /// A MobileFaceNet as InsightFace builds it (`mobilefacenet.py`, its `mbf` and `mbf_large`): Chen et al., *MobileFaceNets*,
    /// 2018 (arXiv 1804.07573), wider by `scale`.
    ///
    /// Parameters have InsightFace's names, in the order in which it registers its modules.
    ///
    /// - Throws: `BackboneError` if the configuration describes no network.
    static func mobileFaceNet(_ configuration: BackboneConfiguration) throws(BackboneError) -> Graph {
        let c = configuration
        var net = MobileFaceNetBuilder(
            net: try GraphBuilder(name: c.name, input: [c.inputChannels, c.inputHeight, c.inputWidth]))
        let (narrow, wide) = (c.widths[0], c.widths[2])

        var x = try net.block("layers.0", .input, outputs: narrow, kernel: 3, stride: 2)
        if c.depths[0] == 1 {
            x = try net.block("layers.1", x, outputs: narrow, kernel: 3, groups: 64)
        } else {
            x = try net.residual("layers.1", x, blocks: c.depths[0], groups: 128)
        }
        x = try net.depthwise("layers.2", x, outputs: narrow, groups: 128, stride: 2)
        x = try net.residual("layers.3", x, blocks: c.depths[1], groups: 128)
        x = try net.depthwise("layers.4", x, outputs: wide, groups: 256, stride: 2)
        x = try net.residual("layers.5", x, blocks: c.depths[2], groups: 256)
        x = try net.depthwise("layers.6", x, outputs: wide, groups: 512, stride: 2)
        x = try net.residual("layers.7", x, blocks: c.depths[3], groups: 256)
        x = try net.block("conv_sep", x, outputs: 512, kernel: 1)
        return try net.finish(x, embeddingSize: c.embeddingSize)
    }
}

/// The modules that a MobileFaceNet consists of, under InsightFace's names.
private struct MobileFaceNetBuilder {
    var net: GraphBuilder

    /// `kaiming_normal_(mode="fan_out")`: He et al. 2015, eq. 10, by the number of outputs.
    private func initializer(outputs: Int, kernel: Int) -> ParameterLayout.Initializer {
        .normal(standardDeviation: (2 / Float(outputs * kernel * kernel)).squareRoot())
    }

    /// Convolution and normalisation: `LinearBlock`.
    mutating func linearBlock(
        _ name: String, _ x: Graph.Value, outputs: Int, kernel: Int, stride: Int = 1, padding: Int? = nil,
        groups: Int = 1
    ) throws(BackboneError) -> Graph.Value {
        let y = try net.convolution(
            "\(name).layers.0", x, outputs: outputs, kernel: kernel, stride: stride, padding: padding, groups: groups,
            initializer: initializer(outputs: outputs, kernel: kernel))
        return try net.normalization("\(name).layers.1", y)
    }

    /// Convolution, normalisation and PReLU: `ConvBlock`.
    mutating func block(
        _ name: String, _ x: Graph.Value, outputs: Int, kernel: Int, stride: Int = 1, groups: Int = 1
    ) throws(BackboneError) -> Graph.Value {
        let y = try linearBlock(name, x, outputs: outputs, kernel: kernel, stride: stride, groups: groups)
        return try net.prelu("\(name).layers.2", y)
    }

    /// A bottleneck: 1×1 to `groups` channels, 3×3 on each alone, 1×1 to `outputs`: `DepthWise`.
    mutating func depthwise(
        _ name: String, _ x: Graph.Value, outputs: Int, groups: Int, stride: Int = 1
    ) throws(BackboneError) -> Graph.Value {
        var y = try block("\(name).layers.0", x, outputs: groups, kernel: 1)
        y = try block("\(name).layers.1", y, outputs: groups, kernel: 3, stride: stride, groups: groups)
        return try linearBlock("\(name).layers.2", y, outputs: outputs, kernel: 1)
    }

    /// Bottlenecks with a shortcut each: `Residual`.
    mutating func residual(
        _ name: String, _ x: Graph.Value, blocks: Int, groups: Int
    ) throws(BackboneError) -> Graph.Value {
        var x = x
        for block in 0..<blocks {
            let y = try depthwise("\(name).layers.\(block)", x, outputs: net.shape(of: x)[0], groups: groups)
            x = try net.sum("\(name).layers.\(block).add", x, y)
        }
        return x
    }

    /// The global depthwise convolution, and the embedding: `GDC`.
    mutating func finish(_ x: Graph.Value, embeddingSize: Int) throws(BackboneError) -> Graph {
        let shape = net.shape(of: x)
        guard shape[1] == shape[2] else {
            throw BackboneError(
                .invalidConfiguration, "\(net.name): images must be square; the last feature map is \(shape)")
        }
        var y = try linearBlock(
            "features.layers.0", x, outputs: shape[0], kernel: shape[1], padding: 0, groups: shape[0])
        y = try net.flatten("features.layers.1", y)
        y = try net.linear(
            "features.layers.2", y, outputs: embeddingSize, bias: false,
            initializer: initializer(outputs: embeddingSize, kernel: 1))
        y = try net.normalization("features.layers.3", y)
        return try net.finish(y)
    }
}
