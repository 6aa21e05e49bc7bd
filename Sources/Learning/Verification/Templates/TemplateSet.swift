public import Dataset
internal import Foundation

/// The images of IJB-B or IJB-C and the templates that they make up, from the official meta files.
///
/// A *template* is a person as seen in some media: still images, or frames of a video, which share a media id. A row is one image of one
/// template; an image that is in two templates has two rows.
public struct TemplateSet: Sendable {
    /// Which of the sets: the prefix of its files.
    public enum Name: String, Sendable, CaseIterable, Codable { case ijbb, ijbc }

    /// The folder, as given.
    public let folder: String
    public let name: Name
    /// The images' names, a row each.
    public let images: [String]
    /// Index in `templates` of each row.
    public let rowTemplates: [Int32]
    /// The weight of each row in its template: one over the number of its template's rows with its media id.
    public let rowWeights: [Float]
    /// The media id of each row.
    private let rowMedia: [Int32]
    /// Five landmarks, x1 y1 … x5 y5, of each row; empty if they were not read.
    public let landmarks: [Float]
    /// The detector's score of each row, in 0…1; empty if they were not read.
    public let scores: [Float]
    /// The templates' ids, ascending.
    public let templates: [Int32]
    /// Rows whose names differ in the two files, though rows belong together by their order.
    public let differingNames: Int
    /// The first of those, for people.
    public let firstDifference: String?

    /// Reads `meta/t_face_tid_mid.txt` and, unless told otherwise, `meta/t_name_5pts_score.txt`.
    ///
    /// - Parameters:
    ///   - landmarks: whether the landmarks and scores are needed. They are not for embeddings that are ready and not weighted.
    /// - Throws: `DatasetError` with file and line if a line is not of its form, a score is not in 0…1, or the files have different numbers
    ///   of lines.
    public init(folder: String, name: Name, landmarks wanted: Bool = true) throws(DatasetError) {
        self.folder = folder
        self.name = name
        var media = try Media(path: Self.path(folder, name, "face_tid_mid.txt"))
        (images, rowTemplates, rowMedia, templates) = try media.read()
        rowWeights = Self.weights(rowTemplates, rowMedia)
        guard wanted else {
            (landmarks, scores, differingNames, firstDifference) = ([], [], 0, nil)
            return
        }
        let path = Self.path(folder, name, "name_5pts_score.txt")
        var points = try Landmarks(path: path, rows: images.count)
        try points.read(images)
        guard points.scores.count == images.count else {
            throw DatasetError(
                .unlikely, path: path,
                "has \(points.scores.count) lines, but \(media.lines.path) has \(images.count): line i of one belongs to line i of the other"
            )
        }
        (landmarks, scores) = (points.landmarks, points.scores)
        (differingNames, firstDifference) = (points.differingNames, points.firstDifference)
    }

    /// The set without some rows, whose templates are made of the others. A template that has no others is zero.
    ///
    /// - Parameter rows: those that stay, ascending.
    public func keeping(_ rows: [Int]) -> TemplateSet { TemplateSet(self, rows) }

    private init(_ set: TemplateSet, _ rows: [Int]) {
        (folder, name, templates) = (set.folder, set.name, set.templates)
        (differingNames, firstDifference) = (set.differingNames, set.firstDifference)
        images = rows.map { set.images[$0] }
        rowTemplates = rows.map { set.rowTemplates[$0] }
        rowMedia = rows.map { set.rowMedia[$0] }
        rowWeights = Self.weights(rowTemplates, rowMedia)
        landmarks = set.landmarks.isEmpty ? [] : rows.flatMap { set.landmarks[$0 * 10..<($0 + 1) * 10] }
        scores = set.scores.isEmpty ? [] : rows.map { set.scores[$0] }
    }

    /// One over the number of rows with a row's template and medium.
    private static func weights(_ templates: [Int32], _ media: [Int32]) -> [Float] {
        func key(_ row: Int) -> UInt64 {
            UInt64(UInt32(bitPattern: templates[row])) << 32 | UInt64(UInt32(bitPattern: media[row]))
        }
        var counts: [UInt64: Int32] = [:]
        for row in templates.indices { counts[key(row), default: 0] += 1 }
        return templates.indices.map { 1 / Float(counts[key($0)] ?? 1) }
    }

    /// The set that is in a folder, by its files.
    ///
    /// - Throws: `DatasetError` if there is none, or both are.
    public static func name(in folder: String) throws(DatasetError) -> Name {
        let found = Name.allCases.filter { fileByteCount(path(folder, $0, "face_tid_mid.txt")) != nil }
        guard let name = found.first else {
            throw DatasetError(
                .missingFile, path: folder, "has neither meta/ijbb_face_tid_mid.txt nor meta/ijbc_face_tid_mid.txt")
        }
        guard found.count == 1 else {
            throw DatasetError(.unlikely, path: folder, "has the files of IJB-B and of IJB-C: say which with --set")
        }
        return name
    }

    /// The place of one of the meta files.
    static func path(_ folder: String, _ name: Name, _ file: String) -> String {
        "\(folder)/meta/\(name.rawValue)_\(file)"
    }

    /// The index of the template with an id, or nil.
    func index(of id: Int32) -> Int32? {
        var (low, high) = (0, templates.count)
        while low < high {
            let middle = (low + high) / 2
            if templates[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low < templates.count && templates[low] == id ? Int32(low) : nil
    }
}

/// Reads the rows: image, template, media.
private struct Media {
    var lines: MetaLines

    init(path: String) throws(DatasetError) { lines = try MetaLines(path: path) }

    mutating func read() throws(DatasetError) -> ([String], [Int32], [Int32], [Int32]) {
        var images: [String] = []
        var ids: [Int32] = []
        var media: [Int32] = []
        while let line = try lines.next() {
            let tokens = MetaTokens.split(line)
            guard tokens.count == 3, let template = MetaTokens.number(tokens[1]),
                let medium = MetaTokens.number(tokens[2])
            else { throw lines.fail("is not an image's name, a template id and a media id") }
            images.append(MetaTokens.text(tokens[0]))
            ids.append(template)
            media.append(medium)
        }
        guard !images.isEmpty else { throw DatasetError(.noSamples, path: lines.path, "has no lines") }
        let templates = Set(ids).sorted()
        let numbers = Dictionary(uniqueKeysWithValues: templates.enumerated().map { ($1, Int32($0)) })
        return (images, ids.map { numbers[$0] ?? 0 }, media, templates)
    }
}

/// Reads landmarks and scores.
private struct Landmarks {
    var lines: MetaLines
    var landmarks: [Float] = []
    var scores: [Float] = []
    var differingNames = 0
    var firstDifference: String?

    init(path: String, rows: Int) throws(DatasetError) {
        lines = try MetaLines(path: path)
        landmarks.reserveCapacity(rows * 10)
        scores.reserveCapacity(rows)
    }

    mutating func read(_ images: [String]) throws(DatasetError) {
        while let line = try lines.next() {
            let tokens = MetaTokens.split(line)
            guard tokens.count != 138 else {
                throw lines.fail(
                    "has 68 landmarks, which are not read: give the five (eyes, nose, corners of the mouth)")
            }
            guard tokens.count == 12 else {
                throw lines.fail("has \(tokens.count) values; a name, x and y of five landmarks and a score are 12")
            }
            for token in tokens[1...10] {
                guard let value = MetaTokens.real(token), abs(value) < 1e6 else {
                    throw lines.fail("has the coordinate \(MetaTokens.text(token)), which is not that of a pixel")
                }
                landmarks.append(value)
            }
            guard let score = MetaTokens.real(tokens[11]), (0...1).contains(score) else {
                throw lines.fail(
                    "has the score \(MetaTokens.text(tokens[11])), which is not in 0…1: a negative one would turn the feature around"
                )
            }
            let row = scores.count
            scores.append(score)
            if row < images.count, images[row] != MetaTokens.text(tokens[0]) {
                differingNames += 1
                if firstDifference == nil {
                    firstDifference =
                        "line \(row + 1): \(images[row]) in one file, \(MetaTokens.text(tokens[0])) in the other"
                }
            }
        }
    }
}
