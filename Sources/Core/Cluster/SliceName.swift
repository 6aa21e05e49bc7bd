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
