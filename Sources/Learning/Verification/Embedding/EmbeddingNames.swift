public import Dataset
internal import Foundation

/// The names of the rows of an embedding file, which `EmbeddingOutput` writes beside it as `FILE.names.tsv`.
public enum EmbeddingNames {
    /// - Parameter count: rows of the file.
    /// - Returns: a name for each row; nil if there is no such file.
    /// - Throws: `DatasetError` if it has another number of lines, or is no table of label and name.
    public static func of(_ path: String, count: Int) throws(DatasetError) -> [String]? {
        let file = path + ".names.tsv"
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        guard let data = FileManager.default.contents(atPath: file) else {
            throw DatasetError(.unreadableFile, path: file, "cannot be read")
        }
        var lines = data.split(separator: 0x0A, omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        guard lines.first.map({ String(decoding: $0, as: UTF8.self) }) == "label\tname", lines.count == count + 1 else {
            throw DatasetError(
                .malformedFile, path: file,
                "does not belong to \(path): \(count) rows need as many lines under label and name"
            )
        }
        return lines.dropFirst().map { line in
            let tab = line.firstIndex(of: 0x09)
            return String(decoding: tab.map { line[line.index(after: $0)...] } ?? line, as: UTF8.self)
        }
    }
}
