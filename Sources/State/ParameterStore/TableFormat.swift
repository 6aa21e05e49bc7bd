/// How the numbers of a slice are kept: its values, and what the optimiser keeps beside them, plane by plane.
public struct TableFormat: Sendable, Hashable, CustomStringConvertible {
    /// `f32` or `bf16`.
    public var rows: NumberFormat
    /// What lies beside the values, in the order of files and messages.
    public var state: [Plane]

    public init(rows: NumberFormat = .f32, state: [Plane]) {
        self.rows = rows
        self.state = state
    }

    /// 32-bit floats and their momentum: what every table was before there were other formats.
    public static let f32 = TableFormat(state: [Plane(momentumName, .f32)])

    /// Every plane, the values first.
    public var planes: [Plane] { [Plane("rows", rows)] + state }

    /// Bytes of one row of `width` numbers in all planes together.
    public func byteCount(width: Int) -> Int { planes.reduce(0) { $0 + $1.byteCount(width: width) } }

    /// Planes beside the values at most: files from elsewhere may say anything.
    static let stateLimit = 8

    /// Whether rows can be kept like this.
    public var isPossible: Bool {
        (rows == .f32 || rows == .bf16) && state.count <= Self.stateLimit
            && Set(planes.map(\.name)).count == planes.count
            // Files are named by them.
            && planes.allSatisfy { plane in
                (1...32).contains(plane.name.utf8.count)
                    && plane.name.utf8.allSatisfy {
                        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || $0 == UInt8(ascii: "_")
                    }
            }
    }

    public var description: String { planes.map { "\($0.name) \($0.format)" }.joined(separator: ", ") }
}

extension TableFormat: Codable {
    private static let momentumName = "momentum"

    /// With momentum alone beside the rows, a format is written as it was before there were planes.
    private enum CodingKeys: String, CodingKey { case rows, momentum, planes }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        rows = try container.decode(NumberFormat.self, forKey: .rows)
        if let planes = try container.decodeIfPresent([Plane].self, forKey: .planes) {
            state = planes
        } else {
            state = [Plane(Self.momentumName, try container.decode(NumberFormat.self, forKey: .momentum))]
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(rows, forKey: .rows)
        if let only = state.first, state.count == 1, only == Plane(Self.momentumName, only.format) {
            try container.encode(only.format, forKey: .momentum)
        } else {
            try container.encode(state, forKey: .planes)
        }
    }
}

extension KeyedDecodingContainer {
    /// Manifests of earlier versions say nothing of the format: it was `f32`.
    func decode(_ type: TableFormat.Type, forKey key: Key) throws -> TableFormat {
        try decodeIfPresent(type, forKey: key) ?? .f32
    }
}
