public import Cluster

/// A slice on its way from its owner to another shard.
///
/// The receiver copies it in the background. The owner stays the owner until the map changes at a step boundary.
public struct SliceMove: Sendable, Hashable, Codable {
    public var slice: SliceName
    public var from: MemberID
    public var to: MemberID

    public init(slice: SliceName, from: MemberID, to: MemberID) {
        self.slice = slice
        self.from = from
        self.to = to
    }
}
