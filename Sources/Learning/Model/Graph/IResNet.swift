extension Graph {
    /// An IResNet as InsightFace builds it (`iresnet.py`): the improved residual units of Duta et al., *Improved Residual
    /// Networks for Image and Video Recognition*, 2020, with PReLU, and a linear layer between two normalisations at the end.
    ///
    /// Parameters have InsightFace's names, in the order in which it registers its modules.
    ///
    /// - Throws: `BackboneError` if the configuration describes no network.
    static func iresnet(_ configuration: BackboneConfiguration) throws(BackboneError) -> Graph {
        let c = configuration
        var net = try GraphBuilder(name: c.name, input: [c.inputChannels, c.inputHeight, c.inputWidth])
        let weights = ParameterLayout.Initializer.normal(standardDeviation: 0.1)

        var x = try net.convolution("conv1", .input, outputs: c.stemWidth, kernel: 3, initializer: weights)
        x = try net.normalization("bn1", x)
        x = try net.prelu("prelu", x)
        for stage in c.depths.indices {
            for position in 0..<c.depths[stage] {
                let name = "layer\(stage + 1).\(position)"
                let (stride, width) = (position == 0 ? c.strides[stage] : 1, c.widths[stage])
                let changesShape = stride != 1 || net.shape(of: x)[0] != width

                var y = try net.normalization("\(name).bn1", x)
                y = try net.convolution("\(name).conv1", y, outputs: width, kernel: 3, initializer: weights)
                y = try net.normalization("\(name).bn2", y)
                y = try net.prelu("\(name).prelu", y)
                y = try net.convolution(
                    "\(name).conv2", y, outputs: width, kernel: 3, stride: stride, initializer: weights)
                y = try net.normalization("\(name).bn3", y)

                var shortcut = x
                if changesShape {
                    shortcut = try net.convolution(
                        "\(name).downsample.0", x, outputs: width, kernel: 1, stride: stride, initializer: weights)
                    shortcut = try net.normalization("\(name).downsample.1", shortcut)
                }
                x = try net.sum("\(name).add", y, shortcut)
            }
        }
        x = try net.normalization("bn2", x)
        x = try net.flatten("flatten", x)
        x = try net.add("dropout", .dropout, x)
        // PyTorch's default of a linear layer: uniform in ±1/√(inputs), weight and bias.
        let bound = 1 / Float(net.shape(of: x)[0]).squareRoot()
        x = try net.linear(
            "fc", x, outputs: c.embeddingSize, bias: true, initializer: .uniform(bound: bound))
        x = try net.normalization("features", x, weight: .frozen)
        return try net.finish(x)
    }
}
