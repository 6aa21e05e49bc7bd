public import Cluster

/// Something that every shard does at a step boundary, while no step is computed.
///
/// The plan carries it until every shard has acknowledged its number. A shard executes a number once, and acknowledges
/// it again when asked again. Doing it twice must do no harm: a shard that was restarted does.
public struct BoundaryTask: Sendable, Hashable, Codable {
    /// Ascending over the whole life of a cluster.
    public var number: Int
    /// The committed step at which it happens; -1 before the first. For `skip` the step that is skipped, for `restore` the one gone
    /// back to: these are committed when the task is done.
    public var step: Int
    public var kind: Kind

    public enum Kind: Sendable, Hashable, Codable {
        /// Log that the step changes nothing.
        case skip
        /// Write every owned slice to `directory`. The acknowledgement lists the files.
        case checkpoint(directory: String)
        /// Make the state that of `step`: from the shard's own log if `checkpoint` is nil, else from that checkpoint; an empty
        /// path stands for the initial state.
        case restore(checkpoint: String?)
        /// Say whether the operation can be done here: read its file, if it has one, and hold what was read until it is decided.
        /// The acknowledgement is the hash of the rows, empty without a file. Nothing changes.
        case check(ClassOperation)
        /// Change the classes. Logged like a step.
        case classes(ClassOperation)
        /// Make everything up to `step` durable; receivers also complete the copies of these moves, durably.
        case handOver([SliceMove])
        /// Owners are lost: whoever keeps copies of their slices (`to`) loads them, does the steps of its log again on them, and says
        /// whether they are whole. Nothing changes before the map does.
        case promote([SliceMove])
    }

    /// Whether it asks whether lost slices can be made from their copies: it is announced, and not decided.
    var isPromotion: Bool { if case .promote = kind { true } else { false } }

    public init(number: Int, step: Int, kind: Kind) {
        self.number = number
        self.step = step
        self.kind = kind
    }
}

/// How a shard's part of a boundary task ended.
public enum TaskOutcome: Sendable, Hashable, Codable {
    /// Done. The detail is for the coordinator's shell: the files of a checkpoint, as JSON; else empty.
    case done(detail: String)
    /// It cannot be done now (a full disk, a file that is missing); the message says why.
    case failed(message: String)
}
