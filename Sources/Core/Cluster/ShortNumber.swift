/// Numbers as people write them.
package enum ShortNumber {
    /// The shortest text that gives the same number when it is read: `1`, not `1.0`.
    package static func text(_ number: some BinaryFloatingPoint & CustomStringConvertible) -> String {
        let text = number.description
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }
}
