/// How the rows of a table and their momentum are kept.
public struct TableFormat: Codable, Sendable, Hashable, CustomStringConvertible {
    /// `f32` or `bf16`.
    public var rows: NumberFormat = .f32
    public var momentum: NumberFormat = .f32

    public init(rows: NumberFormat = .f32, momentum: NumberFormat = .f32) {
        self.rows = rows
        self.momentum = momentum
    }

    /// 32-bit floats, rows and momentum.
    public static let f32 = TableFormat()

    /// Bytes of one row of `width` numbers and of its momentum together.
    public func byteCount(width: Int) -> Int { rows.byteCount(width: width) + momentum.byteCount(width: width) }

    /// Whether rows can be kept like this.
    public var isPossible: Bool { rows == .f32 || rows == .bf16 }

    public var description: String { "rows \(rows), momentum \(momentum)" }
}

extension KeyedDecodingContainer {
    /// Manifests of earlier versions say nothing of the format: it was `f32`.
    func decode(_ type: TableFormat.Type, forKey key: Key) throws -> TableFormat {
        try decodeIfPresent(type, forKey: key) ?? .f32
    }
}
