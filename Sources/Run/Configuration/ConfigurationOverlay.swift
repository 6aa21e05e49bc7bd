internal import Yams

/// The values of a configuration, over which files and settings are laid.
struct ConfigurationOverlay {
    /// Sections and values as JSON has them.
    private(set) var tree: [String: Any]
    /// Where the value of a key was written.
    private(set) var places: [String: String] = [:]
    /// Whether `~/` means the home directory of this user: not in what another process has read before.
    private let expandsHome: Bool

    /// - Parameter tree: the defaults.
    init(_ tree: [String: Any], expandsHome: Bool) {
        self.tree = tree
        self.expandsHome = expandsHome
    }

    /// Lays a YAML text over what is there.
    ///
    /// - Parameter name: of the file, for messages.
    mutating func add(yaml text: String, name: String) throws(ConfigurationError) {
        guard let root = try ConfigurationText.node(text, name: name) else { return }
        if case .scalar(let scalar) = root, scalar.style == .plain || scalar.style == .any, scalar.string.isEmpty {
            return
        }
        guard case .mapping = root else {
            throw ConfigurationError(
                key: "", problem: "must be a mapping of sections to keys, such as head: {scale: 64}", place: name)
        }
        try set(root, .configuration, path: []) { line in line.map { "\(name):\($0)" } ?? name }
    }

    /// Lays a setting `section.key=value` over what is there.
    ///
    /// - Parameter source: what gave it: `--set`.
    mutating func add(setting: String, source: String) throws(ConfigurationError) {
        let place = "\(source) \(setting.shown)"
        guard let equals = setting.firstIndex(of: "=") else {
            throw ConfigurationError(key: "", problem: "is not of the form section.key=value", place: place)
        }
        let value = String(setting[setting.index(after: equals)...])
        let path = setting[..<equals].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let shape = try shape(path, place: place)
        let key = path.joined(separator: ".")
        let trimmed = String(value.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
        switch shape {
        case .section, .list:
            guard let node = try ConfigurationText.node(value, name: place) else {
                try set(.scalar(.init("", .implicit, .plain)), shape, path: path) { _ in place }
                return
            }
            try set(node, shape, path: path) { _ in place }
        case .text, .path:
            // As it is: a shell has dealt with quotes and comments. Quotes that are left are YAML's.
            if let quote = trimmed.first, quote == "\"" || quote == "'" {
                guard let node = try ConfigurationText.node(trimmed, name: place) else { return }
                try set(node, shape, path: path) { _ in place }
            } else {
                try set(ConfigurationScalar(text: value, isQuoted: false), shape, key: key, path: path, place: place)
            }
        case .boolean, .integer, .number, .ramp:
            try set(ConfigurationScalar(text: trimmed, isQuoted: false), shape, key: key, path: path, place: place)
        }
    }

    /// The shape of what a path names.
    private func shape(_ path: [String], place: String) throws(ConfigurationError) -> ConfigurationShape {
        var shape = ConfigurationShape.configuration
        for (depth, name) in path.enumerated() {
            guard case .section(let keys) = shape, let next = keys[name] else {
                throw unknown(path[...depth].joined(separator: "."), within: shape, place: place)
            }
            shape = next
        }
        return shape
    }

    private mutating func set(
        _ node: Node, _ shape: ConfigurationShape, path: [String], place: (Int?) -> String
    ) throws(ConfigurationError) {
        let key = path.joined(separator: ".")
        func failure(_ problem: String, at node: Node) -> ConfigurationError {
            ConfigurationError(key: key, problem: problem, place: place(node.mark?.line))
        }
        switch (shape, node) {
        case (.section(let keys), .mapping(let mapping)):
            try checkTag(mapping.tag, key: key, place: place(mapping.mark?.line))
            var budget = ConfigurationMapping.pairLimit
            for (name, value) in try ConfigurationMapping.pairs(mapping, key: key, budget: &budget, place: place) {
                guard let inner = keys[name.string] else {
                    let full = (path + [name.string]).joined(separator: ".")
                    throw unknown(full, within: shape, place: place(name.mark?.line))
                }
                try set(value, inner, path: path + [name.string], place: place)
            }
        case (.list(.section(let keys)), .sequence(let sequence)):
            try checkTag(sequence.tag, key: key, place: place(sequence.mark?.line))
            var items: [[String: any Sendable]] = []
            for (index, item) in sequence.enumerated() {
                items.append(try self.item(item, keys, key: "\(key)[\(index)]", place: place))
            }
            put(items, path, place(node.mark?.line))
        case (.list(let element), .sequence(let sequence)):
            try checkTag(sequence.tag, key: key, place: place(sequence.mark?.line))
            var values: [any Sendable] = []
            for (index, item) in sequence.enumerated() {
                let name = "\(key)[\(index)]"
                guard case .scalar(let scalar) = item else {
                    throw ConfigurationError(
                        key: name, problem: "is a list or a mapping; \(element.description) is wanted",
                        place: place(item.mark?.line))
                }
                values.append(try value(scalar, element, key: name, place: place(scalar.mark?.line)))
            }
            put(values, path, place(node.mark?.line))
        case (.section, .scalar(let scalar)), (.list, .scalar(let scalar)):
            let found = try self.scalar(scalar, key: key, place: place(scalar.mark?.line))
            // Every key of it may be commented out; an empty list says no more than the default, which is one.
            if found.isMissing { return }
            throw failure("is \(found.text.shown); \(shape.description) is wanted", at: node)
        case (_, .scalar(let scalar)):
            let line = place(scalar.mark?.line)
            try set(try self.scalar(scalar, key: key, place: line), shape, key: key, path: path, place: line)
        case (_, .mapping): throw failure("is a mapping of keys; \(shape.description) is wanted", at: node)
        case (_, .sequence): throw failure("is a list; \(shape.description) is wanted", at: node)
        case (_, .alias): throw failure("is an alias of nothing", at: node)
        }
    }

    /// An item of a list that is a mapping of keys to plain values.
    private mutating func item(
        _ node: Node, _ keys: [String: ConfigurationShape], key: String, place: (Int?) -> String
    ) throws(ConfigurationError) -> [String: any Sendable] {
        let line = place(node.mark?.line)
        guard case .mapping(let mapping) = node else {
            throw ConfigurationError(
                key: key, problem: "is no mapping; keys are wanted, of \(keys.keys.sorted().joined(separator: ", "))",
                place: line)
        }
        try checkTag(mapping.tag, key: key, place: line)
        places[key] = line
        var budget = ConfigurationMapping.pairLimit
        var values: [String: any Sendable] = [:]
        for (name, value) in try ConfigurationMapping.pairs(mapping, key: key, budget: &budget, place: place) {
            let full = "\(key).\(name.string)"
            let line = place((value.mark ?? name.mark)?.line)
            guard let shape = keys[name.string] else {
                throw unknown(full, within: .section(keys), place: place(name.mark?.line))
            }
            guard case .scalar(let scalar) = value else {
                throw ConfigurationError(
                    key: full, problem: "is a list or a mapping; \(shape.description) is wanted", place: line)
            }
            values[name.string] = try self.value(scalar, shape, key: full, place: line)
            places[full] = line
        }
        return values
    }

    private mutating func set(
        _ scalar: ConfigurationScalar, _ shape: ConfigurationShape, key: String, path: [String], place: String
    ) throws(ConfigurationError) {
        if scalar.isMissing {
            let initial = Self.value(in: RunConfiguration.defaultTree, path)
            // An empty text is what it would be without the key.
            if (initial as? String)?.isEmpty == true {
                put("", path, place)
                return
            }
            throw ConfigurationError(
                key: key,
                problem:
                    "has no value; write one, or leave the key out for its default, \(RunConfiguration.initialTexts[key] ?? "")",
                place: place)
        }
        do { put(try scalar.value(shape, expandsHome: expandsHome), path, place) } catch {
            throw ConfigurationError(key: key, problem: error.problem, place: place)
        }
    }

    private func scalar(
        _ scalar: Node.Scalar, key: String, place: String
    ) throws(ConfigurationError) -> ConfigurationScalar {
        do { return try ConfigurationScalar(scalar) } catch {
            throw ConfigurationError(key: key, problem: error.problem, place: place)
        }
    }

    private func value(
        _ node: Node.Scalar, _ shape: ConfigurationShape, key: String, place: String
    ) throws(ConfigurationError) -> any Sendable {
        let found = try scalar(node, key: key, place: place)
        if found.isMissing { throw ConfigurationError(key: key, problem: "has no value", place: place) }
        do { return try found.value(shape, expandsHome: expandsHome) } catch {
            throw ConfigurationError(key: key, problem: error.problem, place: place)
        }
    }

    private func checkTag(_ tag: Tag, key: String, place: String) throws(ConfigurationError) {
        let name = tag.description
        guard ["", "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"].contains(name) else {
            throw ConfigurationError(
                key: key, problem: "has the tag \(name.shown), which is not known here", place: place)
        }
    }

    private func unknown(_ key: String, within shape: ConfigurationShape, place: String) -> ConfigurationError {
        guard case .section(let keys) = shape else {
            return ConfigurationError(
                key: key.shown,
                problem:
                    "is not a known key: \(key.split(separator: ".").dropLast().joined(separator: ".").shown) has none in it",
                place: place)
        }
        let sections = RunConfiguration.keys.compactMap { $0.split(separator: ".").dropLast().first.map(String.init) }
        // Of an item of a list only its own keys are near.
        let item = key.lastIndex(of: ".").map { key[..<$0] }.flatMap { $0.hasSuffix("]") ? $0 : nil }
        let known = item.map { item in keys.keys.map { "\(item).\($0)" } } ?? RunConfiguration.keys + Set(sections)
        let hint =
            ConfigurationKey.nearest(to: key, among: known).map {
                "; did you mean \($0)?"
            } ?? ";"
        return ConfigurationError(
            key: key.shown,
            problem: "is not a known key\(hint) known here: \(keys.keys.sorted().joined(separator: ", "))", place: place
        )
    }

    private mutating func put(_ value: any Sendable, _ path: [String], _ place: String) {
        places[path.joined(separator: ".")] = place
        Self.put(value, path[...], in: &tree)
    }

    private static func put(_ value: any Sendable, _ path: ArraySlice<String>, in tree: inout [String: Any]) {
        guard let name = path.first else { return }
        if path.count == 1 {
            tree[name] = value
        } else {
            var section = tree[name] as? [String: Any] ?? [:]
            put(value, path.dropFirst(), in: &section)
            tree[name] = section
        }
    }

    private static func value(in tree: [String: Any], _ path: [String]) -> Any? {
        guard let name = path.first else { return nil }
        if path.count == 1 { return tree[name] }
        return value(in: tree[name] as? [String: Any] ?? [:], Array(path.dropFirst()))
    }
}
