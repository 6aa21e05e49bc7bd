internal import Dataset
internal import Foundation

/// The text of a list of pairs, and how its lines are cut.
enum PairText {
    /// The longest list that is read: it is held in memory.
    static let maximumByteCount = 1 << 30

    /// The lines of a file in UTF-8 or, with a byte order mark, UTF-16.
    ///
    /// - Throws: `DatasetError` if it cannot be read, or is too long.
    static func lines(path: String) throws(DatasetError) -> [Substring] {
        guard let size = fileByteCount(path) else { throw DatasetError(.missingFile, path: path, "cannot be read") }
        guard size <= maximumByteCount else {
            throw DatasetError(
                .malformedFile, path: path, "is \(size) bytes long; at most \(maximumByteCount) are read")
        }
        guard var data = FileManager.default.contents(atPath: path) else {
            throw DatasetError(.missingFile, path: path, "cannot be read")
        }
        let text: String
        if data.starts(with: [0xFF, 0xFE]) || data.starts(with: [0xFE, 0xFF]) {
            guard let wide = String(data: data, encoding: .utf16) else {
                throw DatasetError(.malformedFile, path: path, "begins like UTF-16, but is not")
            }
            text = wide
        } else {
            if data.starts(with: [0xEF, 0xBB, 0xBF]) { data = data.dropFirst(3) }
            text = String(decoding: data, as: UTF8.self)
        }
        return text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    }

    /// The values of a line separated by commas; one in double quotes may have commas, and doubled quotes.
    static func commaSeparated(_ line: Substring) -> [String] {
        var fields: [String] = []
        var field = ""
        var (isQuoted, isBlank) = (false, true)
        var rest = line[...]
        while let character = rest.popFirst() {
            switch character {
            case "\"" where isQuoted && rest.first == "\"":
                field.append("\"")
                isBlank = false
                rest.removeFirst()
            case "\"" where isQuoted: isQuoted = false
            case "\"" where isBlank:
                isQuoted = true
                field = ""
            case "," where !isQuoted:
                fields.append(field)
                (field, isBlank) = ("", true)
            default:
                field.append(character)
                isBlank = isBlank && character.isWhitespace
            }
        }
        return (fields + [field]).map { $0.trimmingCharacters(in: .whitespaces) }
    }

    /// What a line of LFW's list says.
    struct Pair: Equatable {
        var a: (name: String, index: Int)
        var b: (name: String, index: Int)
        var same: Bool

        static func == (a: Self, b: Self) -> Bool { a.a == b.a && a.b == b.b && a.same == b.same }
    }

    /// Words of a line without tabs, at most: every number among them is a way to read it.
    private static let fieldLimit = 64

    /// Every way to read a line as `name i j` or `name i name j`. Names may have spaces: with tabs between the values there
    /// is one way at most.
    static func readings(_ line: Substring) -> [Pair] {
        func number(_ text: String) -> Int? { Int(text).flatMap { (0..<10_000).contains($0) ? $0 : nil } }
        let isTabbed = line.contains("\t")
        let fields = line.split { isTabbed ? $0 == "\t" : $0.isWhitespace }
            .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
        guard fields.count >= 3, fields.count <= (isTabbed ? 4 : fieldLimit),
            let last = number(fields[fields.count - 1])
        else {
            return []
        }
        var readings: [Pair] = []
        func name(_ range: Range<Int>) -> String { fields[range].joined(separator: " ") }
        if !isTabbed || fields.count == 3, let first = number(fields[fields.count - 2]) {
            let person = name(0..<fields.count - 2)
            readings.append(Pair(a: (person, first), b: (person, last), same: true))
        }
        if fields.count >= 4 {
            for middle in 1..<fields.count - 2 {
                guard let first = number(fields[middle]) else { continue }
                readings.append(
                    Pair(
                        a: (name(0..<middle), first), b: (name(middle + 1..<fields.count - 1), last), same: false))
            }
        }
        return readings
    }
}

/// The length of a file in bytes, a link's target followed, or nil if there is none.
func fileByteCount(_ path: String) -> Int? {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG ? Int(status.st_size) : nil
}
