/// One plane of a slice beside its values: what an optimiser keeps for every row.
public struct Plane: Codable, Sendable, Hashable {
    /// What it is called in files: `second_moment`.
    public var name: String
    public var format: NumberFormat
    /// Whether it has one number for each row, and not as many as the row.
    public var isPerRow: Bool

    public init(_ name: String, _ format: NumberFormat, isPerRow: Bool = false) {
        self.name = name
        self.format = format
        self.isPerRow = isPerRow
    }

    /// Numbers of a row that has `width` values.
    public func width(of width: Int) -> Int { isPerRow ? 1 : width }

    /// Bytes of a row that has `width` values.
    public func byteCount(width: Int) -> Int { format.byteCount(width: self.width(of: width)) }
}
