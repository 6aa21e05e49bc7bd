internal import Yams

/// The keys of a YAML mapping, with those that it merges.
enum ConfigurationMapping {
    /// The most keys that are merged: a mapping that merges several that merge several … has no end.
    static let pairLimit = 10_000

    /// Merged pairs first, so that the mapping's own ones count, and of several merged mappings the first.
    ///
    /// - Throws: `ConfigurationError` for a key that is no word, or something merged that is no mapping.
    static func pairs(
        _ mapping: Node.Mapping, key: String, budget: inout Int, place: (Int?) -> String
    ) throws(ConfigurationError) -> [(name: Node.Scalar, value: Node)] {
        var own: [(Node.Scalar, Node)] = []
        var merged: [(Node.Scalar, Node)] = []
        for (name, value) in mapping {
            budget -= 1
            func failure(_ problem: String) -> ConfigurationError {
                ConfigurationError(key: key, problem: problem, place: place(name.mark?.line))
            }
            guard budget > 0 else { throw failure("merges more than \(pairLimit) keys") }
            guard case .scalar(let scalar) = name else { throw failure("has a list or a mapping for a key") }
            guard scalar.string == "<<", scalar.style == .plain else {
                own.append((scalar, value))
                continue
            }
            let sources: [Node]
            switch value {
            case .mapping: sources = [value]
            case .sequence(let sequence): sources = Array(sequence)
            case .scalar, .alias: throw failure("merges (<<) what is no mapping")
            }
            for source in sources.reversed() {
                guard case .mapping(let inner) = source else { throw failure("merges (<<) what is no mapping") }
                merged += try pairs(inner, key: key, budget: &budget, place: place)
            }
        }
        return merged + own
    }
}
