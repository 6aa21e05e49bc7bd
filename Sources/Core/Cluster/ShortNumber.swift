/// Numbers as people write them.
package enum ShortNumber {
    /// The shortest text that gives the same number when it is read: `1`, not `1.0`.
    package static func text(_ number: some BinaryFloatingPoint & CustomStringConvertible) -> String {
        let text = number.description
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }

    /// The number of a text in decimal digits; nil for anything else that Swift reads, as `0x10`, `inf` and `nan`.
    package static func number<Number: LosslessStringConvertible>(_ text: some StringProtocol) -> Number? {
        text.utf8.allSatisfy { "0123456789+-.eE".utf8.contains($0) } ? Number(String(text)) : nil
    }
}
