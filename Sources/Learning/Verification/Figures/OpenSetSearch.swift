public import Dataset
internal import Foundation

/// Search in a gallery that has persons with labels, several images each, and distractors of whom nothing is known: TinyFace's protocol.
public struct OpenSetSearch: Sendable, Hashable, Codable {
    /// The ranks that papers give.
    public static let ranks = [1, 5, 20]

    public var gallerySize: Int
    public var distractors: Int
    /// Probes of whom the gallery has an image.
    public var probes: Int
    /// Probes that are left out because the gallery has none.
    public var leftOut: Int
    /// The share of probes of whom any image is among the first k, for each k of `ranks`; nil if there is no probe. Of equal scores the wrong
    /// one counts as the better.
    public var rates: [Double]?

    /// - Parameters:
    ///   - gallery: features at length 1, the distractors after the others.
    ///   - labels: persons of the gallery's first rows; the rows after them are distractors.
    ///   - probeLabels: a person for each row of `probes`.
    /// - Throws: never, as all is in memory.
    public init(
        gallery: TemplateFeatures, labels: [String], probes: TemplateFeatures, probeLabels: [String], threads: Int
    ) throws(DatasetError) {
        precondition(labels.count <= gallery.count && probeLabels.count == probes.count, "one label per row")
        precondition(gallery.size == probes.size, "features of one length")
        var mates: [String: [Int]] = [:]
        for (row, label) in labels.enumerated() { mates[label, default: []].append(row) }
        let used = probeLabels.indices.filter { mates[probeLabels[$0]] != nil }
        (gallerySize, distractors) = (gallery.count, gallery.count - labels.count)
        (self.probes, leftOut) = (used.count, probeLabels.count - used.count)
        guard !used.isEmpty else {
            rates = nil
            return
        }
        let found = try GallerySearch.run(
            RealScores(
                gallery: gallery.values, probes: probes.rows(used.map(Int32.init)), size: gallery.size),
            mates: used.map { mates[probeLabels[$0]] ?? [] }, rivals: Self.ranks.max() ?? 1, places: 0,
            threads: threads)
        rates = Self.ranks.map { rank in Double(found.count { $0.better < rank }) / Double(used.count) }
    }

    /// The person that a file is of: its name before the first `_`.
    public static func label(ofFile name: String) -> String {
        String((name as NSString).lastPathComponent.prefix { $0 != "_" })
    }
}
