internal import Foundation

/// Reading a run configuration: the defaults, then the file, then `key=value` settings over both.
extension RunConfiguration {
    /// Reads the YAML file at `path`, and lays settings over it, each `section.key=value`.
    ///
    /// - Parameters:
    ///   - settings: of the command line (`--set`); they count before those of the environment.
    ///   - environment: of the variable `PARTIALFC_SET`.
    /// - Throws: `ConfigurationError` if the file cannot be read, a key is unknown, or a value does not fit.
    public init(
        file path: String, settings: [String] = [], environment: [String] = []
    ) throws(ConfigurationError) {
        try self.init(
            yaml: ConfigurationText.read(path), name: path, settings: settings, environment: environment)
    }

    /// Reads YAML (or JSON, which is YAML), and lays settings over it.
    ///
    /// - Parameter name: of the file, for messages.
    /// - Throws: `ConfigurationError` if a key is unknown or a value does not fit.
    public init(
        yaml text: String, name: String = "the configuration", settings: [String] = [], environment: [String] = []
    ) throws(ConfigurationError) {
        var overlay = ConfigurationOverlay(Self.defaultTree, expandsHome: true)
        try overlay.add(yaml: text, name: name)
        for setting in environment { try overlay.add(setting: setting, source: "PARTIALFC_SET") }
        for setting in settings { try overlay.add(setting: setting, source: "--set") }
        try self.init(overlay, name: name)
        forgetValuesBefore()
    }

    /// Reads what `canonicalText` wrote, of a run that goes on: keys that came later have the value that they had before.
    ///
    /// - Throws: `ConfigurationError` if a key is unknown, of a later version perhaps, or a value does not fit.
    public init(stored text: String) throws(ConfigurationError) {
        var tree = Self.defaultTree
        for key in Self.valuesBefore.keys {
            let path = key.split(separator: ".").map(String.init)
            var section = tree[path[0]] as? [String: Any] ?? [:]
            section[path[1]] = nil
            tree[path[0]] = section
        }
        var overlay = ConfigurationOverlay(tree, expandsHome: false)
        let name = "the stored configuration"
        try overlay.add(yaml: text, name: name)
        try self.init(overlay, name: name)
    }

    /// - Parameter name: of the file: the place of what nobody wrote, such as a default that does not fit a key beside it.
    private init(_ overlay: ConfigurationOverlay, name: String) throws(ConfigurationError) {
        func error(_ key: String, _ problem: String) -> ConfigurationError {
            ConfigurationError(key: key, problem: problem, place: overlay.places[key] ?? name)
        }
        do {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            self = try decoder.decode(Self.self, from: JSONSerialization.data(withJSONObject: overlay.tree))
        } catch let DecodingError.typeMismatch(type, context) {
            throw error(Self.dotted(context.codingPath), "must be of type \(type)")
        } catch let DecodingError.dataCorrupted(context) {
            throw error(Self.dotted(context.codingPath), context.debugDescription)
        } catch let problem {
            throw error("", "\(problem)")
        }
        do { try validate() } catch let problem {
            throw error(problem.key, problem.problem)
        }
    }

    /// Keys that are left out of what is stored if they have the value, as JSON, that every run had before there was the key. So
    /// the text and the fingerprint of an older run stay what they were. Such a key is optional, nil for this value.
    static let valuesBefore: [String: String] = {
        let defaults = leaves(withEveryKey)
        let keys = ["name", "betas", "epsilon", "moments", "decay"].map { "optimizer.\($0)" }
        return Dictionary(uniqueKeysWithValues: keys.map { ($0, defaults[$0] ?? "") })
            .merging([
                "head.sampling": "1", "backbone.frozen": "[]", "backbone.dropout": "0",
                "backbone.compute": "\"f32\"", "backbone.exchange_gradients": "\"f32\"", "backbone.graph": "\"\"",
                "data.augment": "[]", "data.image_width": "0", "schedule.rate": "\"plan\"", "schedule.stages": "[]",
                "cluster.job_goes_back": "\"ask\"",
                "cluster.copies": "1", "cluster.promote_after": "30", "cluster.min_copies": "1",
            ]) { $1 }
    }()

    /// Makes nil what has the value that every run had before there was its key.
    mutating func forgetValuesBefore() {
        let defaults = Optimizer()
        if head.sampling == 1 { head.sampling = nil }
        if backbone.frozen?.isEmpty == true { backbone.frozen = nil }
        if backbone.compute == "f32" { backbone.compute = nil }
        if backbone.exchangeGradients == "f32" { backbone.exchangeGradients = nil }
        if backbone.dropout == 0 { backbone.dropout = nil }
        if backbone.graph?.isEmpty == true { backbone.graph = nil }
        if data.imageWidth == 0 { data.imageWidth = nil }
        if data.augment?.isEmpty == true { data.augment = nil }
        if schedule.rate == "plan" { schedule.rate = nil }
        if schedule.stages?.isEmpty == true { schedule.stages = nil }
        if cluster.jobGoesBack == "ask" { cluster.jobGoesBack = nil }
        if cluster.copies == 1 { cluster.copies = nil }
        if cluster.promoteAfter == 30 { cluster.promoteAfter = nil }
        if cluster.minCopies == 1 { cluster.minCopies = nil }
        if optimizer.decay == defaults.decay { optimizer.decay = nil }
        guard optimizer.name == defaults.name else { return }
        optimizer.name = nil
        if optimizer.betas == defaults.betas { optimizer.betas = nil }
        if optimizer.epsilon == defaults.epsilon { optimizer.epsilon = nil }
        if optimizer.moments == defaults.moments { optimizer.moments = nil }
    }

    /// The whole configuration as one line of JSON with sorted keys: what members receive, and what is hashed.
    public var canonicalText: String {
        // Encoding plain numbers and strings cannot fail once `validate` has refused what is not finite.
        var copy = self
        // What every run promised before there was the key is not written: older runs keep their text and their fingerprint.
        if copy.determinism == "exact" { copy.determinism = nil }
        return (try? String(decoding: Self.encoder.encode(copy), as: UTF8.self)) ?? ""
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
        let old = Self.valuesBefore.merging(Self.leaves(stored.identity)) { $1 }
        let new = Self.valuesBefore.merging(Self.leaves(identity)) { $1 }
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
        // These keys came later: the fingerprints of older runs stay what they were.
        (copy.cluster.shares, copy.cluster.jobGoesBack) = (nil, nil)
        (copy.cluster.copies, copy.cluster.promoteAfter, copy.cluster.minCopies) = (nil, nil, nil)
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
            let options: JSONSerialization.WritingOptions = [.fragmentsAllowed, .sortedKeys, .withoutEscapingSlashes]
            let data = (try? JSONSerialization.data(withJSONObject: value, options: options)) ?? .init()
            return String(decoding: data, as: UTF8.self)
        }
        let data = (try? encoder.encode(configuration)) ?? .init()
        let tree = (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] ?? [:]
        return Dictionary(list(tree, "")) { first, _ in first }
    }

    /// Every key, dotted: `head.sample_rate`.
    public static let keys: [String] = initialTexts.keys.sorted()

    private static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }

    /// Every key with its default as text: `[]`, `false`, `auto`.
    static let initialTexts = leaves(withEveryKey).mapValues { $0.replacing("\"", with: "") }

    /// Every key with its default, as JSON has it.
    static var defaultTree: [String: Any] {
        let data = (try? encoder.encode(RunConfiguration.withEveryKey)) ?? .init()
        return (try? JSONSerialization.jsonObject(with: data)) as? [String: Any] ?? [:]
    }

    private static func dotted(_ path: [any CodingKey]) -> String {
        path.map { ConfigurationKey.snake($0.stringValue) }.joined(separator: ".")
    }
}
