internal import Foundation

/// The words of a file that can be identities: one in every line, each once.
public struct WordList: Sendable {
    /// The most words of a list, and the most bytes of its file.
    package static let maximumCount = 10_000_000
    private static let maximumByteCount = 256 << 20

    /// The words in Unicode's composed form (NFC), by their code points.
    public let words: [String]
    /// Lines that are not among `words`, and why.
    public let omitted: Omitted
    /// How a recipe names this list.
    public let recipe: GlyphRecipe.Words

    /// Lines that are left out.
    public struct Omitted: Sendable, Hashable {
        /// Lines with a word that was there before.
        public var repeated = 0
        /// Words with more letters than are asked for.
        public var tooLong = 0
        /// Lines with spaces or control characters inside.
        public var notWords = 0

        /// In words, empty if there are none.
        public var description: String {
            [(repeated, "repeated"), (tooLong, "too long"), (notWords, "with spaces or control characters")]
                .filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        }
    }

    /// Reads the list at `path`: UTF-8, with or without a byte order mark, lines ended by LF or CR LF. Empty lines do not count.
    ///
    /// - Parameter maximumLetters: longer words are left out, and counted.
    /// - Throws: `DatasetError` if the file cannot be read, is not UTF-8 (with the line), is too large, or has no word.
    public init(path: String, maximumLetters: Int) throws(DatasetError) {
        guard (1...256).contains(maximumLetters) else {
            throw DatasetError(.invalidOption, "a longest word of \(maximumLetters) letters is not in 1...256")
        }
        let file = URL(fileURLWithPath: path).resolvingSymlinksInPath()
        guard let attributes = try? FileManager.default.attributesOfItem(atPath: file.path) else {
            throw DatasetError(.missingFile, path: path, "does not exist; it is a list with a word in every line")
        }
        // A device or a pipe may never end.
        guard attributes[.type] as? FileAttributeType == .typeRegular,
            (attributes[.size] as? Int ?? 0) <= Self.maximumByteCount, let data = try? Data(contentsOf: file)
        else {
            throw DatasetError(
                .unreadableFile, path: path, "cannot be read as a word list: a file of at most 256 MiB is expected")
        }
        var known: Set<String> = []
        var omitted = Omitted()
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let body = data.starts(with: mark) ? data.dropFirst(mark.count) : data
        for (number, line) in body.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            guard let text = String(validating: line, as: UTF8.self) else {
                throw DatasetError(
                    .malformedFile, path: path,
                    "line \(number + 1) is not UTF-8; convert the list, for instance with `iconv -f ISO-8859-1 -t UTF-8`"
                )
            }
            let word = text.trimmingCharacters(in: .whitespacesAndNewlines).precomposedStringWithCanonicalMapping
            if word.isEmpty { continue }
            let isWord = !word.unicodeScalars.contains {
                $0.properties.isWhitespace || $0.properties.generalCategory == .control
            }
            if !isWord {
                omitted.notWords += 1
            } else if word.unicodeScalars.count > maximumLetters {
                omitted.tooLong += 1
            } else if !known.insert(word).inserted {
                omitted.repeated += 1
            }
            guard known.count <= Self.maximumCount else {
                throw DatasetError(.malformedFile, path: path, "has more than \(Self.maximumCount) words")
            }
        }
        guard !known.isEmpty else {
            let reason = omitted.description.isEmpty ? "is empty" : "has no word to use: \(omitted.description)"
            throw DatasetError(.noSamples, path: path, "\(reason); a list with a word in every line is expected")
        }
        words = known.sorted { $0.unicodeScalars.lexicographicallyPrecedes($1.unicodeScalars) }
        self.omitted = omitted
        let hash = Array(words.joined(separator: "\n").utf8).withUnsafeBytes { ContentFingerprint.of($0) }
        recipe = GlyphRecipe.Words(fingerprint: String(hash, radix: 16), maximumLetters: maximumLetters)
    }
}
