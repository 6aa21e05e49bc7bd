/// Why a text is no address.
public struct AddressError: Error, CustomStringConvertible, Sendable, Equatable {
    /// What was written.
    public let text: String
    /// What is wrong with it, and what to write.
    public let problem: String

    public init(_ text: some StringProtocol, _ problem: String) {
        self.text = Self.shown(text, limit: 200)
        self.problem = Self.shown(problem, limit: 800)
    }

    public var description: String { "\(text): \(problem)" }

    /// On one line, and without what a terminal would obey.
    private static func shown(_ text: some StringProtocol, limit: Int) -> String {
        text.unicodeScalars.prefix(limit).reduce(into: "") { shown, scalar in
            let isPlain = scalar.isASCII && scalar.value >= 0x20 && scalar.value != 0x7F
            shown += isPlain ? String(scalar) : "\\u{\(String(scalar.value, radix: 16))}"
        }
    }
}
