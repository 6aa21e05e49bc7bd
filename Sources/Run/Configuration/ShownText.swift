extension String {
    /// This text within a message: on one line, without what a terminal would obey, and not endless.
    var shown: String {
        var text = ""
        for scalar in unicodeScalars.prefix(80) {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse:
                text += "\\u{" + String(scalar.value, radix: 16) + "}"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return unicodeScalars.count > 80 ? text + "…" : text
    }

    /// Whether it has a character that no name or path should have, such as the end of a line.
    var hasControlCharacter: Bool {
        unicodeScalars.contains {
            [.control, .lineSeparator, .paragraphSeparator].contains($0.properties.generalCategory)
        }
    }
}
