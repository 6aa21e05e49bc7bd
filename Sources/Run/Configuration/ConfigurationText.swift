internal import Foundation
internal import Yams

/// The text of a configuration, read and parsed within bounds: whatever a file holds, the answer is a configuration or an error.
enum ConfigurationText {
    /// A configuration has a few kilobytes; a list of verification sets may make it longer.
    static let byteLimit = 1 << 20
    /// The parser calls itself for each level of nesting, and every level needs one of these characters, or a longer line.
    private static let bracketLimit = 1000
    /// Levels that begin on one line: `- - - a`.
    private static let indicatorLimit = 16
    /// An alias of an alias of … stands for a text that is longer than any memory.
    private static let aliasLimit = 20

    /// The text of a file.
    ///
    /// - Throws: `ConfigurationError` if it cannot be read, is too long, or is no UTF-8.
    static func read(_ path: String) throws(ConfigurationError) -> String {
        func failure(_ problem: String) -> ConfigurationError {
            ConfigurationError(key: "", problem: problem, place: path)
        }
        var information = stat()
        guard stat(path, &information) == 0 else {
            throw failure("cannot be read: \(String(cString: strerror(errno)))")
        }
        guard information.st_mode & S_IFMT != S_IFDIR else {
            throw failure("is a directory; the YAML file that describes the run is wanted")
        }
        // A program's output (/dev/stdin) may be a pipe, too; one with a name has perhaps nobody who writes to it.
        guard information.st_mode & S_IFMT != S_IFIFO || path.hasPrefix("/dev/") || path.hasPrefix("/proc/") else {
            throw failure("is a named pipe; give the file itself, or /dev/stdin")
        }
        guard let file = fopen(path, "rbe") else {
            throw failure("cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: byteLimit + 1)
        let count = fread(&bytes, 1, bytes.count, file)
        guard ferror(file) == 0 else { throw failure("cannot be read: \(String(cString: strerror(errno)))") }
        guard count <= byteLimit else {
            throw failure("is longer than \(byteLimit) bytes; a configuration is far shorter: is it another file?")
        }
        return try text(bytes[..<count], name: path)
    }

    /// Bytes as text.
    static func text(_ bytes: ArraySlice<UInt8>, name: String) throws(ConfigurationError) -> String {
        func failure(_ problem: String, line: Int? = nil) -> ConfigurationError {
            ConfigurationError(key: "", problem: problem, place: line.map { "\(name):\($0)" } ?? name)
        }
        if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
            throw failure("is UTF-16; save it as UTF-8")
        }
        let bytes = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes
        for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            guard String(validating: line, as: UTF8.self) != nil else {
                throw failure("is not UTF-8; save it as UTF-8", line: index + 1)
            }
            if let control = line.first(where: { ($0 < 0x20 && $0 != 0x09 && $0 != 0x0D) || $0 == 0x7F }) {
                throw failure("has the control character \\u{\(String(control, radix: 16))}", line: index + 1)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The root of a YAML text, nil if it holds nothing.
    ///
    /// - Throws: `ConfigurationError` with the line if it is not YAML, or deeper or more tangled than a configuration can be.
    static func node(_ text: String, name: String) throws(ConfigurationError) -> Node? {
        try checkNesting(text, name: name)
        do { return try Yams.compose(yaml: text) } catch let error as YamlError {
            throw Self.error(error, text: text, name: name)
        } catch {
            throw ConfigurationError(key: "", problem: "is not YAML: \(error)", place: name)
        }
    }

    private static func checkNesting(_ text: String, name: String) throws(ConfigurationError) {
        var (brackets, aliases) = (0, 0)
        for (index, line) in text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            var (indicators, isLeading) = (0, true)
            var before = UInt8(ascii: " ")
            var isStar = false
            for byte in line {
                switch byte {
                case UInt8(ascii: "["), UInt8(ascii: "{"): brackets += 1
                case UInt8(ascii: "-"), UInt8(ascii: "?"), UInt8(ascii: ":"): indicators += isLeading ? 1 : 0
                case UInt8(ascii: " "), UInt8(ascii: "\t"): break
                default: isLeading = false
                }
                // A star that begins a word, with a letter behind it.
                if isStar, byte != UInt8(ascii: " ") { aliases += 1 }
                isStar = byte == UInt8(ascii: "*") && " \t[{,:-?".utf8.contains(before)
                before = byte
            }
            let problem =
                brackets > bracketLimit || indicators > indicatorLimit
                ? "is nested deeper than a configuration can be, or has more than \(bracketLimit) brackets ([, {)"
                : aliases > aliasLimit ? "has more than \(aliasLimit) aliases (*name)" : nil
            if let problem { throw ConfigurationError(key: "", problem: problem, place: "\(name):\(index + 1)") }
        }
    }

    private static func error(_ error: YamlError, text: String, name: String) -> ConfigurationError {
        func failure(_ problem: String, _ mark: Mark?) -> ConfigurationError {
            ConfigurationError(key: "", problem: problem, place: mark.map { "\(name):\($0.line)" } ?? name)
        }
        switch error {
        case .duplicatedKeysInMapping(let keys, let context):
            return failure("the key \(keys.map(\.shown).joined(separator: ", ")) is given twice", context.mark)
        case .composer(_, let problem, let mark, _) where problem.contains("another document"):
            return failure("a second document begins here (---); a configuration is one document", mark)
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            if isTab(at: mark, in: text) {
                return failure("has a tab where YAML wants spaces, in column \(mark.column)", mark)
            }
            let within = context.map { " \($0.text)" } ?? ""
            return failure("is not YAML: \(problem)\(within), in column \(mark.column)", mark)
        default: return failure("is not YAML: \(error)", nil)
        }
    }

    private static func isTab(at mark: Mark, in text: String) -> Bool {
        let lines = text.split(omittingEmptySubsequences: false) { $0.isNewline }
        guard lines.indices.contains(mark.line - 1) else { return false }
        let line = lines[mark.line - 1]
        return line.unicodeScalars.dropFirst(max(0, mark.column - 1)).first == "\t"
            || line.unicodeScalars.prefix { $0 == " " || $0 == "\t" }.contains("\t")
    }
}
