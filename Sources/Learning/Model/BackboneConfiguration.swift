/// The shape of a backbone: an IResNet (InsightFace's `iresnet.py`) with any depths, widths and input, or none at all.
///
/// ```swift
/// let faces = try BackboneConfiguration.named("iresnet50")
/// let glyphs = try BackboneConfiguration.named("iresnet-small", channels: 1, height: 32, width: 32)
/// ```
public struct BackboneConfiguration: Sendable, Hashable, Codable {
    public var name: String
    /// IBasicBlocks in each stage.
    public var depths: [Int]
    /// Channels of each stage.
    public var widths: [Int]
    /// Stride of the first block of each stage.
    public var strides: [Int]
    /// Channels after the first convolution.
    public var stemWidth: Int
    public var inputChannels: Int
    public var inputHeight: Int
    public var inputWidth: Int
    /// D, the length of an embedding.
    public var embeddingSize: Int

    public init(
        name: String, depths: [Int], widths: [Int], strides: [Int], stemWidth: Int, inputChannels: Int,
        inputHeight: Int, inputWidth: Int, embeddingSize: Int
    ) {
        self.name = name
        self.depths = depths
        self.widths = widths
        self.strides = strides
        self.stemWidth = stemWidth
        self.inputChannels = inputChannels
        self.inputHeight = inputHeight
        self.inputWidth = inputWidth
        self.embeddingSize = embeddingSize
    }

    /// The ε of every batch normalisation.
    public static let epsilon: Float = 1e-5
    /// The weight of the newest batch in the running statistics.
    public static let statisticsMomentum: Float = 0.1
    /// The names that `named` knows, besides `identity`.
    public static let names = ["iresnet18", "iresnet34", "iresnet50", "iresnet100", "iresnet-small"]

    /// A backbone by name: 112×112 colour and 512-d for the InsightFace sizes, 32×32 gray and 128-d for `iresnet-small`,
    /// unless given.
    ///
    /// - Throws: `BackboneError` if the name is unknown or the input does not fit the strides.
    public static func named(
        _ name: String, channels: Int? = nil, height: Int? = nil, width: Int? = nil, embeddingSize: Int? = nil
    ) throws(BackboneError) -> Self {
        let insightFace = [
            "iresnet18": [2, 2, 2, 2], "iresnet34": [3, 4, 6, 3], "iresnet50": [3, 4, 14, 3],
            "iresnet100": [3, 13, 30, 3],
        ]
        let configuration: Self
        if name == "iresnet-small" {
            configuration = Self(
                name: name, depths: [1, 1, 1, 1], widths: [32, 64, 128, 256], strides: [2, 2, 2, 2], stemWidth: 32,
                inputChannels: channels ?? 1, inputHeight: height ?? 32, inputWidth: width ?? 32,
                embeddingSize: embeddingSize ?? 128)
        } else if let depths = insightFace[name] {
            configuration = Self(
                name: name, depths: depths, widths: [64, 128, 256, 512], strides: [2, 2, 2, 2], stemWidth: 64,
                inputChannels: channels ?? 3, inputHeight: height ?? 112, inputWidth: width ?? 112,
                embeddingSize: embeddingSize ?? 512)
        } else {
            throw BackboneError(
                .invalidConfiguration,
                "there is no backbone named \"\(name)\"; choose one of \(names.joined(separator: ", "))")
        }
        try configuration.validate()
        return configuration
    }

    /// No backbone: the data set's images are the embeddings, and there are no parameters.
    public static func identity(embeddingSize: Int) -> Self {
        Self(
            name: "identity", depths: [], widths: [], strides: [], stemWidth: 0, inputChannels: embeddingSize,
            inputHeight: 1, inputWidth: 1, embeddingSize: embeddingSize)
    }

    /// Whether this is `identity`: embeddings come from the data set.
    public var isIdentity: Bool { name == "identity" }

    /// Floats in one image.
    public var inputCount: Int { inputChannels * inputHeight * inputWidth }

    /// Height and width of the last feature map: every stride of 2 halves them, rounding up.
    package var outputExtent: (height: Int, width: Int) {
        strides.reduce((inputHeight, inputWidth)) { (($0.0 + $1 - 1) / $1, ($0.1 + $1 - 1) / $1) }
    }

    /// Checks that a network of this shape exists.
    ///
    /// - Throws: `BackboneError` that names the field.
    public func validate() throws(BackboneError) {
        func fail(_ problem: String) -> BackboneError { BackboneError(.invalidConfiguration, "\(name): \(problem)") }
        let limit = 1 << 16
        for (field, value) in [
            ("input channels", inputChannels), ("input height", inputHeight), ("input width", inputWidth),
            ("embedding size", embeddingSize),
        ] where value < 1 || value > limit {
            throw fail("\(field) \(value) is not in 1...\(limit)")
        }
        if isIdentity {
            guard inputCount == embeddingSize else {
                throw fail("an input of \(inputCount) values cannot be an embedding of \(embeddingSize)")
            }
            return
        }
        guard !depths.isEmpty, depths.count == widths.count, depths.count == strides.count else {
            throw fail(
                "\(depths.count) depths, \(widths.count) widths and \(strides.count) strides: give one of each a stage")
        }
        guard depths.allSatisfy({ (1...1000).contains($0) }) else {
            throw fail("depths \(depths) are not all in 1...1000")
        }
        guard (widths + [stemWidth]).allSatisfy({ (1...8192).contains($0) }) else {
            throw fail("stem width \(stemWidth) and widths \(widths) are not all in 1...8192")
        }
        guard strides.allSatisfy({ (1...2).contains($0) }) else { throw fail("strides \(strides) are not all 1 or 2") }
        guard inputHeight <= 4096, inputWidth <= 4096 else {
            throw fail("images of \(inputHeight)×\(inputWidth) are larger than 4096×4096")
        }
    }
}
