/// The shape of a backbone: an IResNet or a MobileFaceNet (InsightFace's `iresnet.py` and `mobilefacenet.py`) with any depths and
/// input, or none at all.
///
/// ```swift
/// let faces = try BackboneConfiguration.named("iresnet50")
/// let glyphs = try BackboneConfiguration.named("iresnet-small", channels: 1, height: 32, width: 32)
/// ```
public struct BackboneConfiguration: Sendable, Hashable, Codable {
    public var name: String
    /// Blocks in each stage.
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
    /// The names that `named` knows, besides `identity` and InsightFace's short ones (`r18` … `r200`).
    public static let names = [
        "iresnet18", "iresnet34", "iresnet50", "iresnet100", "iresnet200", "iresnet-small", "mbf", "mbf_large",
    ]

    /// A backbone by name: 112×112 colour and 512-d for the InsightFace networks, 32×32 gray and 128-d for `iresnet-small`,
    /// unless given.
    ///
    /// - Throws: `BackboneError` if the name is unknown or the input does not fit the strides.
    public static func named(
        _ name: String, channels: Int? = nil, height: Int? = nil, width: Int? = nil, embeddingSize: Int? = nil
    ) throws(BackboneError) -> Self {
        func network(_ name: String, _ depths: [Int], _ widths: [Int], _ stemWidth: Int, isSmall: Bool = false) -> Self
        {
            Self(
                name: name, depths: depths, widths: widths, strides: [2, 2, 2, 2], stemWidth: stemWidth,
                inputChannels: channels ?? (isSmall ? 1 : 3), inputHeight: height ?? (isSmall ? 32 : 112),
                inputWidth: width ?? (isSmall ? 32 : 112), embeddingSize: embeddingSize ?? (isSmall ? 128 : 512))
        }
        let short = ["r18", "r34", "r50", "r100", "r200"].contains(name) ? "iresnet" + name.dropFirst() : name
        let widths = [64, 128, 256, 512]
        let configuration: Self
        switch short {
        case "iresnet-small": configuration = network(short, [1, 1, 1, 1], [32, 64, 128, 256], 32, isSmall: true)
        case "iresnet18": configuration = network(short, [2, 2, 2, 2], widths, 64)
        case "iresnet34": configuration = network(short, [3, 4, 6, 3], widths, 64)
        case "iresnet50": configuration = network(short, [3, 4, 14, 3], widths, 64)
        case "iresnet100": configuration = network(short, [3, 13, 30, 3], widths, 64)
        case "iresnet200": configuration = network(short, [6, 26, 60, 6], widths, 64)
        case "mbf": configuration = network(short, [1, 4, 6, 2], [128, 128, 256, 256], 128)
        case "mbf_large": configuration = network(short, [2, 8, 12, 4], [256, 256, 512, 512], 256)
        default:
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

    /// Whether this is a MobileFaceNet and not an IResNet.
    public var isMobileFaceNet: Bool { name == "mbf" || name == "mbf_large" }

    /// The network of this shape.
    ///
    /// - Throws: `BackboneError` if there is none, or it is the identity.
    public func graph() throws(BackboneError) -> Graph {
        try isMobileFaceNet ? .mobileFaceNet(self) : .iresnet(self)
    }

    /// Floats in one image.
    public var inputCount: Int { inputChannels * inputHeight * inputWidth }

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
        if isMobileFaceNet {
            // Its groups are fixed: 128, 256 and 512 channels in the bottlenecks.
            guard depths.count == 4, widths == [stemWidth, stemWidth, 2 * stemWidth, 2 * stemWidth],
                stemWidth % 128 == 0, strides == [2, 2, 2, 2]
            else { throw fail("the depths of its four stages can be changed, its widths and strides cannot") }
        }
        guard inputHeight <= 4096, inputWidth <= 4096 else {
            throw fail("images of \(inputHeight)×\(inputWidth) are larger than 4096×4096")
        }
    }
}
