public import Dataset

/// Which templates are compared, and whether they are of one person: 9 bytes a pair.
public struct TemplatePairs: Sendable {
    /// Index of the first template of each pair in `TemplateSet.templates`.
    public let first: [Int32]
    /// That of the second.
    public let second: [Int32]
    public let same: [Bool]

    /// Reads `meta/t_template_pair_label.txt`.
    ///
    /// - Throws: `DatasetError` with file and line if a line is not of its form or names a template that has no image.
    public init(of set: TemplateSet) throws(DatasetError) {
        var lines = try MetaLines(path: TemplateSet.path(set.folder, set.name, "template_pair_label.txt"))
        var first: [Int32] = []
        var second: [Int32] = []
        var same: [Bool] = []
        while let line = try lines.next() {
            let tokens = MetaTokens.split(line)
            guard tokens.count == 3, let a = MetaTokens.number(tokens[0]), let b = MetaTokens.number(tokens[1]),
                let label = MetaTokens.number(tokens[2]), label <= 1
            else { throw lines.fail("is not two template ids and 0 or 1") }
            guard let i = set.index(of: a) else { throw lines.fail(TemplatePairs.unknown(a), code: .unlikely) }
            guard let j = set.index(of: b) else { throw lines.fail(TemplatePairs.unknown(b), code: .unlikely) }
            first.append(i)
            second.append(j)
            same.append(label == 1)
        }
        guard !first.isEmpty else { throw DatasetError(.noSamples, path: lines.path, "has no lines") }
        (self.first, self.second, self.same) = (first, second, same)
    }

    /// What is said of a template without images.
    static func unknown(_ id: Int32) -> String { "names the template \(id), which has no image in face_tid_mid.txt" }

    public var count: Int { first.count }
}
