/// The text of key files: lines of words, and comments.
enum KeyText {
    /// The words of every line that has some and is no comment, with the line's number.
    static func lines(_ text: String) -> [(number: Int, words: [String])] {
        text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
            let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
            // Keys may have a # in them, but no line begins with one.
            guard let first = words.first, !first.hasPrefix("#") else { return nil }
            return (index + 1, words)
        }
    }
}
