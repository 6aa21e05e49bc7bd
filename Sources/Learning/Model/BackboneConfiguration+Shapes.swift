extension BackboneConfiguration {
    /// The most blocks of a stage that a file is searched for.
    private static let maximumDepth = 1000

    /// The configuration that the shapes of an iresnet's tensors show, for square images; nil if they are not of one.
    ///
    /// - Parameter shapes: the shape of a tensor by InsightFace's name.
    init?(shapes: (String) -> [Int]?) {
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
