public import Cluster

/// What a shard's directory holds, so that the coordinator can tell it from an older copy of it.
public struct ShardHoldings: Sendable, Hashable, Codable {
    /// Where the directory is, for people: host and path. Empty without one.
    public var place: String
    /// Names the directory itself, which a copy of it does not share: of its device and inode; 0 if nothing is known.
    public var identity: UInt64
    /// The slices that it owns, and complete copies of slices that may become its own.
    public var slices: SliceSet
    public var denseSlices: SliceSet
    public var received: SliceSet
    public var receivedDense: SliceSet
    /// The slices of others that it keeps a second, complete copy of, which its log makes current.
    public var keptSlices: SliceSet
    public var keptDense: SliceSet
    /// The slice map that these are of.
    public var mapVersion: Int
    /// Operations on the classes that what it owns has seen.
    public var classVersion: Int
    /// The fewest operations on the classes that any of its copies has seen; nil if it does not say, or has none.
    public var receivedClassVersion: Int?
    /// The past that its state is of (`Past.name`); 0 if it does not say.
    public var past: UInt64
    /// The last boundary task that it has done.
    public var lastTask: Int
    /// Whether what it has reported as durable survives a power cut: not if it never syncs.
    public var isSynced: Bool
    /// The attempts that its newest steps are of, ascending by step; a step that was skipped has term 0. May be empty.
    public var recent: [StepID]

    public init(
        place: String = "", identity: UInt64 = 0, slices: SliceSet = [], denseSlices: SliceSet = [],
        received: SliceSet = [], receivedDense: SliceSet = [], kept: SliceSet = [], keptDense: SliceSet = [],
        mapVersion: Int = 0, classVersion: Int = 0,
        receivedClassVersion: Int? = nil, past: UInt64 = 0, lastTask: Int = 0, isSynced: Bool = true,
        recent: [StepID] = []
    ) {
        self.place = place
        self.identity = identity
        self.slices = slices
        self.denseSlices = denseSlices
        self.received = received
        self.receivedDense = receivedDense
        keptSlices = kept
        self.keptDense = keptDense
        self.mapVersion = mapVersion
        self.classVersion = classVersion
        self.receivedClassVersion = receivedClassVersion
        self.past = past
        self.lastTask = lastTask
        self.isSynced = isSynced
        self.recent = recent
    }

    /// How many of `recent` are worth telling.
    public static let recentLimit = 4

    /// Every slice that it owns.
    public var owned: Set<SliceName> {
        Set(centers: slices, dense: denseSlices)
    }

    /// Every slice that it has a complete copy of.
    public var copies: Set<SliceName> {
        Set(centers: received, dense: receivedDense)
    }

    /// Every slice of another shard that it keeps a copy of.
    public var kept: Set<SliceName> {
        Set(centers: keptSlices, dense: keptDense)
    }
}
