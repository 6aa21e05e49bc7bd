internal import Model

/// Gives every activation of a network its place, and every layer its place in the flat vector.
struct NetworkPlanner {
    let layout: ParameterLayout
    let batch: Int
    /// Floats reserved so far, each region on a cache line of its own.
    private(set) var count = 0
    private(set) var largest = 0
    private(set) var mostChannels = 0

    init(layout: ParameterLayout, batch: Int) {
        self.layout = layout
        self.batch = batch
    }

    /// Room for `floats` floats in a context.
    mutating func reserve(_ floats: Int) -> Int {
        defer { count += (floats + 15) / 16 * 16 }
        largest = max(largest, floats)
        return count
    }

    /// Where segment `name` lies in the flat vector. Traps on a name that the layout does not have: both come from one walk.
    func range(_ name: String) -> Range<Int> {
        guard let segment = layout[name] else { preconditionFailure("no segment \(name) in \(layout.configuration)") }
        return segment.range
    }

    mutating func normalization(_ name: String, _ channels: Int, _ pixels: Int, slope: String? = nil) -> Normalization {
        mostChannels = max(mostChannels, channels)
        return Normalization(
            channels: channels, rows: batch * pixels, weight: range("\(name).weight").lowerBound,
            bias: range("\(name).bias").lowerBound, mean: range("\(name).running_mean").lowerBound,
            variance: range("\(name).running_var").lowerBound, slope: slope.map { range($0).lowerBound },
            trainsWeight: layout["\(name).weight"]?.kind == .parameter,
            state: reserve(Normalization.stateCount(channels: channels)))
    }

    func convolution(
        _ name: String, _ inputs: Int, _ outputs: Int, _ height: Int, _ width: Int, kernel: Int, stride: Int,
        first: Bool = false
    ) throws(BackboneError) -> WeightedOperator {
        try .convolution(
            batch: batch, inputs: inputs, outputs: outputs, height: height, width: width, kernel: kernel,
            stride: stride,
            weights: range("\(name).weight"), needsInputGradient: !first)
    }

    mutating func block(_ shape: BlockShape) throws(BackboneError) -> Network.Block {
        let (name, inputs, outputs) = (shape.name, shape.inputs, shape.outputs)
        let (height, width) = (shape.height, shape.width)
        let (pixels, outputPixels) = (height * width, shape.outputHeight * shape.outputWidth)
        var shortcut: (convolution: WeightedOperator, normalization: Normalization, output: Int)?
        if shape.hasDownsample {
            shortcut = (
                try convolution(
                    "\(name).downsample.0", inputs, outputs, height, width, kernel: 1, stride: shape.stride),
                normalization("\(name).downsample.1", outputs, outputPixels), reserve(batch * outputs * outputPixels)
            )
        }
        return Network.Block(
            bn1: normalization("\(name).bn1", inputs, pixels),
            bn2: normalization("\(name).bn2", outputs, pixels, slope: "\(name).prelu.weight"),
            bn3: normalization("\(name).bn3", outputs, outputPixels),
            conv1: try convolution("\(name).conv1", inputs, outputs, height, width, kernel: 3, stride: 1),
            conv2: try convolution("\(name).conv2", outputs, outputs, height, width, kernel: 3, stride: shape.stride),
            shortcut: shortcut, a1: reserve(batch * inputs * pixels), c1: reserve(batch * outputs * pixels),
            a2: reserve(batch * outputs * pixels), c2: reserve(batch * outputs * outputPixels),
            output: reserve(batch * outputs * outputPixels))
    }
}
