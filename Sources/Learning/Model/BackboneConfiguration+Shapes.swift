extension BackboneConfiguration {
    /// The most blocks of a stage that a file is searched for.
    private static let maximumDepth = 1000

    /// The configuration that the shapes of a network's tensors show, for square images; nil if they are of none that is known.
    ///
    /// - Parameter shapes: the shape of a tensor by InsightFace's name.
    init?(shapes: (String) -> [Int]?) {
        if let found = Self(iresnet: shapes) ?? Self(mobileFaceNet: shapes) { self = found } else { return nil }
    }

    private init?(mobileFaceNet shapes: (String) -> [Int]?) {
        guard let stem = shapes("layers.0.layers.0.weight"), stem.count == 4,
            let last = shapes("features.layers.0.layers.0.weight"), last.count == 4, (1...256).contains(last[2]),
            let linear = shapes("features.layers.2.weight"), linear.count == 2
        else { return nil }
        /// The bottlenecks of a stage; a stage of one convolution has none.
        let depths = [1, 3, 5, 7].map { stage in
            max(
                1,
                (0..<Self.maximumDepth).first { shapes("layers.\(stage).layers.\($0).layers.0.layers.0.weight") == nil }
                    ?? 0)
        }
        let known = ["mbf", "mbf_large"].compactMap { try? Self.named($0) }.first { $0.stemWidth == stem[0] }
        guard var found = known else { return nil }
        found.depths = depths
        found.inputChannels = stem[1]
        (found.inputHeight, found.inputWidth) = (last[2] * 16, last[2] * 16)
        found.embeddingSize = linear[0]
        self = found
    }

    private init?(iresnet shapes: (String) -> [Int]?) {
        guard let stem = shapes("conv1.weight"), stem.count == 4, let linear = shapes("fc.weight"), linear.count == 2
        else { return nil }
        var depths: [Int] = []
        var widths: [Int] = []
        while depths.count < 16, let block = shapes("layer\(depths.count + 1).0.conv1.weight"), block.count == 4 {
            let stage = depths.count + 1
            depths.append((0..<Self.maximumDepth).first { shapes("layer\(stage).\($0).conv1.weight") == nil } ?? 0)
            widths.append(block[0])
        }
        guard let last = widths.last, last > 0, linear[1] > 0, linear[1] % last == 0 else { return nil }
        // The last feature map, which every stage has halved.
        let side = Int(Double(linear[1] / last).squareRoot().rounded())
        guard side * side == linear[1] / last, side < 1 << 12 else { return nil }
        let extent = side << depths.count
        let known = Self.names.first { name in
            (try? Self.named(name)).map { $0.depths == depths && $0.widths == widths } ?? false
        }
        self.init(
            name: known ?? "iresnet", depths: depths, widths: widths,
            strides: [Int](repeating: 2, count: depths.count), stemWidth: stem[0], inputChannels: stem[1],
            inputHeight: extent, inputWidth: extent, embeddingSize: linear[0])
    }
}
