public import Cluster
public import Succession

/// A copy of what the coordinator must not forget, as it gives it to shards; they do not look into it.
public struct RecordCopy: Sendable, Hashable, Codable {
    /// Drawn for every state of the record; never 0.
    public var id: UInt64
    /// How many operations on the classes are done by it.
    public var classVersion: Int
    public var text: String

    public init(id: UInt64, classVersion: Int, text: String) {
        (self.id, self.classVersion, self.text) = (id, classVersion, text)
    }

    /// The longest text that is given to shards, and the longest that a hello says of it, in bytes of UTF-8.
    public static let byteLimit = 512 << 10
}

/// What a shard keeps of the coordinator's record: the newest copy, and the operations on the classes that it has done since.
public struct KeptRecord: Sendable, Hashable, Codable {
    public private(set) var copy: RecordCopy?
    public private(set) var applied: [Adoption.Applied] = []
    /// What it has promised to coordinators.
    public var vote: BallotVote?

    public init() {}

    /// A newer copy has come.
    public mutating func take(_ copy: RecordCopy) {
        self.copy = copy
        applied.removeAll { $0.version <= copy.classVersion }
    }

    /// An operation is done, as the `version`th. One that was done before under this number was undone.
    public mutating func note(_ operation: ClassOperation, version: Int, after step: Int) {
        applied.removeAll { $0.version >= version }
        applied.append(Adoption.Applied(version: version, step: step, operation: operation))
    }
}
