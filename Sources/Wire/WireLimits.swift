import StepProtocol

/// Bounds that every decoder enforces before it believes a message.
public struct WireLimits: Sendable {
    /// Longest header frame, in bytes.
    public var headerByteCount: Int
    /// Longest message, all frames together, in bytes.
    public var messageByteCount: Int

    /// A tensor longer than this is sent in fragments of this length, in bytes.
    public static let fragmentByteCount = 1 << 20
    /// The longest fragment that is accepted, in bytes.
    public static let longestFragment = 4 << 20

    public init(headerByteCount: Int, messageByteCount: Int = 1 << 30) {
        self.headerByteCount = headerByteCount
        self.messageByteCount = messageByteCount
    }

    /// For those that receive requests: headers up to 1.25 MiB.
    public static let server = WireLimits(headerByteCount: 5 << 18)
    /// For those that receive answers: headers up to 17 MiB, for listings and plans with many moves.
    public static let client = WireLimits(headerByteCount: 17 << 20)
}

/// Bounds of single fields, the same for encoder and decoder.
enum Bound {
    /// Steps, attempts, versions, class ids, extents: sums and increments of these cannot overflow.
    static let number = 1 << 48
    /// What the coordinator counts up from what a member says (tasks, maps): what follows it can still be sent.
    static let counter = 1 << 40
    /// Ranks, slices, micro-batches, milliseconds, threads.
    static let small = 1 << 24
    static let processID = Int(UInt32.max)
    static let tensors = 64
    static let axes = 8
    /// Ranks and shards of a plan.
    static let members = Plan.memberLimit
    /// Slices of a listing, moves, ranges of a slice set.
    static let slices = 1 << 16
    /// Classes, or ranges of them, that one operation retires.
    static let classes = 1 << 16
    /// Retired classes that are listed; of more than these the ranges are.
    static let listedClasses = 64
    static let lossSums = 1 << 16
    /// Steps whose attempts a shard names.
    static let recent = 64
    /// Entries of a dictionary.
    static let entries = 256
    static let nameBytes = 256
    static let textBytes = 4096
    static let configurationBytes = 1 << 20
    /// A copy of the coordinator's record: it must fit into a hello.
    static let recordBytes = RecordCopy.byteLimit
    /// What goes with a task that was done, and with a log record.
    static let detailBytes = 1 << 20
    static let jsonBytes = 16 << 20
}
