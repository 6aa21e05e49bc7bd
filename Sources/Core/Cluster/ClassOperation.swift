/// A change of the classes. Operations are numbered 1, 2, … over the life of a run: their count is the *class version*.
public enum ClassOperation: Sendable, Hashable {
    /// Adds `count` classes after the last one. Rows come from the tensor `centers` [count, D] of the safetensors file, or are
    /// initial random ones if `path` is empty. `hash` is that of the rows when the order was checked, empty if it was not.
    case add(count: Int, path: String, hash: String = "")
    /// These classes are never sampled again; samples that carry them as their label are replaced.
    case retire(SliceSet)
    /// Samples of `from` count as `into` from now on, and `from` is retired. The center of `into` stays as it is.
    case merge(from: Int, into: Int)

    /// Whether shards must say first whether they can do it.
    public var needsCheck: Bool {
        if case .add(_, let path, _) = self { !path.isEmpty } else { false }
    }

    /// The same operation, of rows that were read with this hash.
    package func checked(_ hash: String) -> ClassOperation {
        guard case .add(let count, let path, _) = self, !path.isEmpty else { return self }
        return .add(count: count, path: path, hash: hash)
    }

    /// In a few words, for people.
    public var summary: String {
        switch self {
        case .add(let count, let path, _):
            "add \(Count.of(count, "class", "classes"))" + (path.isEmpty ? "" : " from \(path)")
        case .retire(let classes) where classes.ranges.count > 6:
            "retire \(classes.count) classes (\(SliceSet(classes.ranges.prefix(3))), …)"
        case .retire(let classes): "retire \(classes.description)"
        case .merge(let from, let into): "merge \(from) into \(into)"
        }
    }
}

/// JSON: `{"add":{"count":5,"path":""}}`, `{"retire":{"_0":[3,17]}}` or, of many classes, `{"retire":{"ranges":[[3,900]]}}` (first and
/// one past the last), `{"merge":{"from":8,"into":7}}`.
extension ClassOperation: Codable {
    /// Retired classes that are written one by one; of more than these the ranges are.
    private static let listLimit = 64

    private enum Kind: String, CodingKey { case add, retire, merge }
    private enum Add: String, CodingKey { case count, path, hash }
    private enum Retire: String, CodingKey {
        case list = "_0"
        case ranges
    }
    private enum Merge: String, CodingKey { case from, into }

    public init(from decoder: any Decoder) throws {
        let kinds = try decoder.container(keyedBy: Kind.self)
        if kinds.contains(.add) {
            let add = try kinds.nestedContainer(keyedBy: Add.self, forKey: .add)
            self = .add(
                count: try add.decode(Int.self, forKey: .count), path: try add.decode(String.self, forKey: .path),
                hash: try add.decodeIfPresent(String.self, forKey: .hash) ?? "")
        } else if kinds.contains(.retire) {
            let retire = try kinds.nestedContainer(keyedBy: Retire.self, forKey: .retire)
            if let ranges = try retire.decodeIfPresent([[Int]].self, forKey: .ranges) {
                guard ranges.allSatisfy({ $0.count == 2 && $0[0] < $0[1] }) else {
                    throw DecodingError.dataCorruptedError(
                        forKey: .ranges, in: retire, debugDescription: "a range is not [first, one past the last]")
                }
                self = .retire(SliceSet(ranges.map { $0[0]..<$0[1] }))
            } else {
                let list = try retire.decode([Int].self, forKey: .list)
                guard list.allSatisfy({ $0 < Int.max }) else {
                    throw DecodingError.dataCorruptedError(
                        forKey: .list, in: retire, debugDescription: "a class is out of range")
                }
                self = .retire(SliceSet(numbers: list))
            }
        } else {
            let merge = try kinds.nestedContainer(keyedBy: Merge.self, forKey: .merge)
            self = .merge(
                from: try merge.decode(Int.self, forKey: .from), into: try merge.decode(Int.self, forKey: .into))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var kinds = encoder.container(keyedBy: Kind.self)
        switch self {
        case .add(let count, let path, let hash):
            var add = kinds.nestedContainer(keyedBy: Add.self, forKey: .add)
            try add.encode(count, forKey: .count)
            try add.encode(path, forKey: .path)
            if !hash.isEmpty { try add.encode(hash, forKey: .hash) }
        case .retire(let classes):
            var retire = kinds.nestedContainer(keyedBy: Retire.self, forKey: .retire)
            if classes.count <= Self.listLimit {
                try retire.encode(classes.numbers, forKey: .list)
            } else {
                try retire.encode(classes.ranges.map { [$0.lowerBound, $0.upperBound] }, forKey: .ranges)
            }
        case .merge(let from, let into):
            var merge = kinds.nestedContainer(keyedBy: Merge.self, forKey: .merge)
            try merge.encode(from, forKey: .from)
            try merge.encode(into, forKey: .into)
        }
    }
}
