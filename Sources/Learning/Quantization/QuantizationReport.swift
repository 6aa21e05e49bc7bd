/// What a quantisation did, as it is kept in the file.
public struct QuantizationReport: Sendable, Codable {
    public var network: String
    public var options: QuantizationOptions
    /// Images of the calibration, and those of the check, which it has not seen.
    public var calibrationImages: Int
    public var checkImages: Int
    public var layers: [Quantizer.LayerReport]
    /// Between the embeddings of the integers and of the float network, on the images of the check.
    public var meanCosine: Double
    public var firstPercentile: Double
    /// Layers that were given more bits, in the order of their sensitivity.
    public var raised: [LayerSensitivity]

    public init(
        network: String, options: QuantizationOptions, calibrationImages: Int, checkImages: Int,
        layers: [Quantizer.LayerReport], cosines: [Double], raised: [LayerSensitivity]
    ) {
        self.network = network
        self.options = options
        self.calibrationImages = calibrationImages
        self.checkImages = checkImages
        self.layers = layers
        meanCosine = Self.mean(cosines)
        firstPercentile = cosines.sorted().dropFirst(cosines.count / 100).first ?? 0
        self.raised = raised
    }

    public static func mean(_ cosines: [Double]) -> Double { cosines.reduce(0, +) / Double(max(1, cosines.count)) }

    /// A line for each layer; of those that were to stay in single precision, the name.
    public var table: String {
        let kept = options.bitsOf.filter { $0.value == 0 }.keys.sorted()
        let width = max(5, (layers.map(\.name) + kept).map(\.count).max() ?? 5)
        func row(_ name: String, _ rest: [(String, Int)]) -> String {
            name + String(repeating: " ", count: max(0, width - name.count))
                + rest.map { String(repeating: " ", count: max(1, $0.1 - $0.0.count)) + $0.0 }.joined()
        }
        /// 1 - cosine, which is in 0…2.
        func fixed(_ value: Double) -> String {
            let (whole, rest) = Int((max(0, 1 - value) * 1e6).rounded()).quotientAndRemainder(dividingBy: 1_000_000)
            let digits = String(rest)
            return "\(whole)." + String(repeating: "0", count: 6 - digits.count) + digits
        }
        let head = row(
            "layer", [("bits", 6), ("outputs", 9), ("products", 10), ("zero", 6), ("before", 11), ("after", 11)])
        return
            ([head]
            + layers.map {
                row(
                    $0.name,
                    [
                        ("\($0.bits)", 6), ("\($0.outputs)", 9), ("\($0.depth)", 10), ("\($0.zero)", 6),
                        (fixed($0.before), 11), (fixed($0.after), 11),
                    ])
            } + kept.map { row($0, [("float", 6)]) }).joined(separator: "\n")
    }
}
