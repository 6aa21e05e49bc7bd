internal import Foundation
internal import Yams

/// Reading a run configuration: the defaults, then the file, then `key=value` settings over both.
extension RunConfiguration {
    /// Reads the YAML file at `path` and applies `settings`, each `section.key=value`.
    ///
    /// - Throws: `ConfigurationError` if the file cannot be read, a key is unknown, or a value does not fit.
    public init(file path: String, settings: [String] = []) throws(ConfigurationError) {
        let text: String
        do { text = try String(contentsOfFile: path, encoding: .utf8) } catch {
            throw ConfigurationError(key: "", problem: "\(path) cannot be read: \(error.localizedDescription)")
        }
        try self.init(yaml: text, settings: settings)
    }

    /// Reads YAML (or JSON, which is YAML) and applies `settings`, each `section.key=value`.
    ///
    /// - Throws: `ConfigurationError` if a key is unknown or a value does not fit.
    public init(yaml text: String, settings: [String] = []) throws(ConfigurationError) {
        var tree = Self.defaultTree
        try Self.overlay(Self.mapping(text), on: &tree, path: "")
        for setting in settings {
            guard let equals = setting.firstIndex(of: "=") else {
                throw ConfigurationError(key: setting, problem: "is not of the form section.key=value")
            }
            let keys = setting[..<equals].split(separator: ".").map(String.init)
            var value: Any
            do { value = try Yams.load(yaml: String(setting[setting.index(after: equals)...])) ?? "" } catch {
                throw ConfigurationError(key: setting, problem: "has a value that is not YAML: \(error)")
            }
            for key in keys.reversed() { value = [key: value] }
            guard let mapping = value as? [String: Any] else {
                throw ConfigurationError(key: setting, problem: "names no key")
            }
            try Self.overlay(mapping, on: &tree, path: "")
        }
        do {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            self = try decoder.decode(Self.self, from: JSONSerialization.data(withJSONObject: tree))
        } catch let DecodingError.typeMismatch(type, context) {
            throw ConfigurationError(key: Self.dotted(context.codingPath), problem: "must be of type \(type)")
        } catch let DecodingError.dataCorrupted(context) {
            throw ConfigurationError(key: Self.dotted(context.codingPath), problem: context.debugDescription)
        } catch {
            throw ConfigurationError(key: "", problem: "\(error)")
        }
        try validate()
    }

    /// The whole configuration as one line of JSON with sorted keys: what members receive, and what is hashed.
    public var canonicalText: String {
        // Encoding plain numbers and strings cannot fail once `validate` has refused what is not finite.
        (try? String(decoding: Self.encoder.encode(self), as: UTF8.self)) ?? ""
    }

    /// A short fingerprint of what decides the result: everything but `output`, `cluster`, `checkpoint` and `evaluation.every`.
    public var fingerprint: String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in identity.canonicalText.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        return String(hash, radix: 16)
    }

    /// What differs from the stored configuration of a run, a line for each key: `head.scale: stored 32, now 64`.
    ///
    /// Sorted by key, which ends at the first colon. Keys that are not in the fingerprint do not count.
    public func differences(from stored: RunConfiguration) -> [String] {
        let (old, new) = (Self.leaves(stored.identity), Self.leaves(identity))
        return new.keys.sorted().compactMap { key in
            guard let before = old[key], let now = new[key], before != now else { return nil }
            return "\(key): stored \(before), now \(now)"
        }
    }

    /// This configuration without what does not decide the result.
    private var identity: RunConfiguration {
        var copy = self
        copy.output = ""
        copy.cluster = Cluster()
        copy.checkpoint = Checkpoint()
        copy.evaluation.every = 0
        return copy
    }

    /// Every key with its value as JSON, dotted: `head.sample_rate`.
    private static func leaves(_ configuration: RunConfiguration) -> [String: String] {
        func list(_ tree: [String: Any], _ prefix: String) -> [(String, String)] {
            tree.flatMap { key, value in
                (value as? [String: Any]).map { list($0, prefix + key + ".") } ?? [(prefix + key, text(value))]
            }
        }
        func text(_ value: Any) -> String {
            let options: JSONSerialization.WritingOptions = [.fragmentsAllowed, .withoutEscapingSlashes]
            let data = (try? JSONSerialization.data(withJSONObject: value, options: options)) ?? .init()
            return String(decoding: data, as: UTF8.self)
        }
        let data = (try? encoder.encode(configuration)) ?? .init()
        let tree = (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] ?? [:]
        return Dictionary(list(tree, "")) { first, _ in first }
    }

    /// Every key with its default, dotted: `head.sample_rate`.
    public static var keys: [String] {
        func list(_ tree: [String: Any], _ prefix: String) -> [String] {
            tree.flatMap { key, value in
                (value as? [String: Any]).map { list($0, prefix + key + ".") } ?? [prefix + key]
            }
        }
        return list(defaultTree, "").sorted()
    }

    private static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    private static var defaultTree: [String: Any] {
        let data = (try? encoder.encode(RunConfiguration())) ?? .init()
        return (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] ?? [:]
    }

    private static func mapping(_ text: String) throws(ConfigurationError) -> [String: Any] {
        let value: Any?
        do { value = try Yams.load(yaml: text) } catch {
            throw ConfigurationError(key: "", problem: "is not YAML: \(error)")
        }
        guard let value, !(value is NSNull) else { return [:] }
        guard let mapping = value as? [String: Any] else {
            throw ConfigurationError(key: "", problem: "must be a mapping of sections to keys")
        }
        return mapping
    }

    private static func overlay(
        _ mapping: [String: Any], on tree: inout [String: Any], path: String
    ) throws(ConfigurationError) {
        for (key, value) in mapping {
            let name = path.isEmpty ? key : "\(path).\(key)"
            guard let known = tree[key] else {
                let others = tree.keys.sorted().joined(separator: ", ")
                throw ConfigurationError(key: name, problem: "is not a known key; known here: \(others)")
            }
            if var section = known as? [String: Any] {
                guard let inner = value as? [String: Any] else {
                    throw ConfigurationError(key: name, problem: "must be a mapping of keys")
                }
                try overlay(inner, on: &section, path: name)
                tree[key] = section
            } else if known is String, !(value is String) {
                tree[key] = "\(value)"
            } else {
                tree[key] = value
            }
        }
    }

    private static func dotted(_ path: [any CodingKey]) -> String {
        path.map { key in
            key.stringValue.reduce(into: "") { $0 += $1.isUppercase ? "_" + $1.lowercased() : String($1) }
        }.joined(separator: ".")
    }
}
