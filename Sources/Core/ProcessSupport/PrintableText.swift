extension StringProtocol {
    /// The text on one line as it can be shown to people: whatever a terminal would obey, or would not show, is written out.
    ///
    /// Names, hosts, endpoints and reasons come from other processes. Control characters become `\n`, `\t`, `\u{1B}` and the like, and so
    /// do those that change the direction of writing or have no width, and a backslash before them.
    public var printable: String {
        guard unicodeScalars.contains(where: \.isUnprintable) else { return String(self) }
        var text = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case _ where scalar.isUnprintable: text += "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    /// The same of a text of several lines: line breaks stay, and what follows one is set in, so that it is not taken for a line of its
    /// own.
    public var printableLines: String {
        split(separator: "\n", omittingEmptySubsequences: false).map(\.printable).joined(separator: "\n    ")
    }
}

extension Unicode.Scalar {
    fileprivate var isUnprintable: Bool {
        if value < 0x7F { return value < 0x20 }
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: return true
        default: return false
        }
    }
}
