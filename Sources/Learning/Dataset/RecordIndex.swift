internal import Foundation

/// Where the records of an InsightFace set start.
enum RecordIndex {
    struct Entry {
        var key: UInt64
        var offset: Int
    }

    /// The lines `key<tab>offset` of an index file in ascending order of offset, or nil if there is no such file. Whether
    /// they fit the records is for `RecordScan` to find out.
    ///
    /// - Throws: `DatasetError` with the line number if a line is something else.
    static func entries(path: String) throws(DatasetError) -> [Entry]? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw DatasetError(.unreadableFile, path: path, "cannot be read")
        }
        var entries: [Entry] = []
        for (number, line) in data.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            let fields = line.split(whereSeparator: { $0 == 0x09 || $0 == 0x20 || $0 == 0x0D })
            if fields.isEmpty { continue }
            guard fields.count == 2, let key = UInt64(String(decoding: fields[0], as: UTF8.self)),
                let offset = Int(String(decoding: fields[1], as: UTF8.self)), offset >= 0
            else {
                throw DatasetError(
                    .malformedFile, path: path,
                    "line \(number + 1) is not a record key and an offset, separated by a tab")
            }
            entries.append(Entry(key: key, offset: offset))
        }
        return entries.sorted { ($0.offset, $0.key) < ($1.offset, $1.key) }
    }
}

/// The file `property`: `classes,height,width`.
struct RecordProperty {
    var classCount: Int
    var imageShape: ImageShape

    /// Reads the file, or nothing if there is none.
    init?(path: String) throws(DatasetError) {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        guard let data = FileManager.default.contents(atPath: path), data.count < 4096 else {
            throw DatasetError(.unreadableFile, path: path, "cannot be read, or is not a line of three numbers")
        }
        let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        let fields = text.split(separator: ",").map { Int($0.trimmingCharacters(in: .whitespaces)) }
        guard fields.count == 3, let classes = fields[0], let height = fields[1], let width = fields[2],
            (1...Int(Int32.max)).contains(classes)
        else {
            throw DatasetError(
                .malformedFile, path: path, "should be `classes,height,width` but is `\(text.prefix(60))`")
        }
        classCount = classes
        imageShape = ImageShape(channels: 3, height: height, width: width)
        do { try imageShape.validate() } catch {
            throw DatasetError(.malformedFile, path: path, "gives an impossible image size: \(error.message)")
        }
    }
}
