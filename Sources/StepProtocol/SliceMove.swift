/// One slice of either kind: of the class centers, or of the backbone's parameters.
public enum SliceName: Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
    case centers(Int)
    case dense(Int)

    public var number: Int {
        switch self {
        case .centers(let number), .dense(let number): number
        }
    }

    public var isDense: Bool { if case .dense = self { true } else { false } }

    public static func < (a: SliceName, b: SliceName) -> Bool {
        (a.isDense ? 1 : 0, a.number) < (b.isDense ? 1 : 0, b.number)
    }

    public var description: String {
        switch self {
        case .centers(let number): "slice \(number)"
        case .dense(let number): "dense slice \(number)"
        }
    }
}

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
