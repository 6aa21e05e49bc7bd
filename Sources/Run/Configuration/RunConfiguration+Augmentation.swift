/// `data.augment`: which changes are made to training images, and how often.
extension RunConfiguration.Data {
    /// The names that `augment` takes.
    public static let augmentations = [
        "crop", "resized_crop", "low_resolution", "photometric", "gray", "erase",
    ]

    /// One element of `augment`: a name, and perhaps a probability.
    public struct NamedChange: Sendable, Hashable {
        public var name: String
        /// Nil: the usual one.
        public var probability: Double?

        public init(name: String, probability: Double? = nil) {
            self.name = name
            self.probability = probability
        }
    }

    /// `augment`, read. Call after `validate`: an element that cannot be read is left out.
    public var changes: [NamedChange] { (augment ?? []).compactMap { try? Self.augmentation($0) } }

    /// Reads `name` or `name=probability`.
    private static func augmentation(_ text: String) throws(ConfigurationError) -> NamedChange {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let name = parts.first, augmentations.contains(name) else {
            throw ConfigurationError(
                key: "data.augment",
                problem: "names \(text.shown); use \(augmentations.joined(separator: ", "))")
        }
        guard parts.count == 2 else { return NamedChange(name: name) }
        guard let probability = Double(parts[1]), probability > 0, probability <= 1 else {
            throw ConfigurationError(
                key: "data.augment",
                problem: "has \(text.shown); the probability must be a number above 0 and up to 1")
        }
        return NamedChange(name: name, probability: probability)
    }

    /// - Throws: `ConfigurationError` if an element cannot be read, comes twice, or has no effect.
    func validateAugmentation() throws(ConfigurationError) {
        var names: Set<String> = []
        for text in augment ?? [] {
            let name = try Self.augmentation(text).name
            guard names.insert(name).inserted else {
                throw ConfigurationError(key: "data.augment", problem: "names \(name) twice")
            }
            if name == "gray" && channels == 1 {
                throw ConfigurationError(
                    key: "data.augment", problem: "names gray, which has no effect with data.channels 1: leave it out")
            }
        }
        if !names.isEmpty && kind == "features" {
            throw ConfigurationError(
                key: "data.augment", problem: "has no effect with data.kind features: leave it out")
        }
    }
}
