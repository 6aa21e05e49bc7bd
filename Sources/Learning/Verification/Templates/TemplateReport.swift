public import Dataset
internal import Foundation
internal import ProcessSupport

/// The figures of a template set, and how they were made.
public struct TemplateReport: Sendable, Codable, Hashable {
    public var set: String
    public var images: Int
    public var templates: Int
    public var options: TemplatePool.Options
    /// 1:1, nil if there is no such list.
    public var verification: AcceptRates
    /// 1:N for each gallery; empty if it was not asked for.
    public var identification: [Identification] = []
    /// Probes of all galleries, each counted once.
    public var probes = 0
    /// What is worth knowing: names that differ, templates of zeros.
    public var notes: [String] = []
    /// Images that do not decode and were left out; nil if none had to be.
    public var leftOut: [DecodableImages.LeftOut]?

    /// Pairs of templates, and with `identification` the galleries.
    ///
    /// - Throws: `DatasetError` if a meta file is not of its form.
    public init(
        _ set: TemplateSet, features: TemplateFeatures, options: TemplatePool.Options, identification wanted: Bool,
        threads: Int
    ) throws(DatasetError) {
        self.set = set.name.rawValue
        (images, templates, self.options) = (set.images.count, set.templates.count, options)
        if set.differingNames > 0 {
            notes.append(
                "\(set.differingNames) lines name another image in face_tid_mid.txt than in name_5pts_score.txt, first \(set.firstDifference ?? ""); lines belong together by their order"
            )
        }
        if features.zeroCount > 0 {
            notes.append("\(features.zeroCount) templates are zero: their score with every other is 0")
        }
        let pairs = try TemplatePairs(of: set)
        verification = AcceptRates(scores: features.scores(pairs, threads: threads), same: pairs.same)
        guard wanted else { return }
        let probes = try TemplateList.probes(of: set)
        self.probes = probes.rows.count
        for name in TemplateList.galleries(of: set) {
            identification.append(
                try Identification(
                    features, gallery: TemplateList.gallery(name, of: set), probes: probes, threads: threads))
        }
    }

    /// Rank-k over all galleries, as InsightFace gives it: the hits of all, by the number of probes.
    public var rankRates: [Double]? {
        guard probes > 0, !identification.isEmpty else { return nil }
        return Identification.ranks.indices.map { rank in
            Double(identification.reduce(0) { $0 + $1.hits[rank] }) / Double(probes)
        }
    }

    /// The mean over the galleries of each rate; nil where one has none.
    public var meanRates: [Double?] {
        guard let first = identification.first else { return [] }
        return first.rates.indices.map { index in
            let values = identification.compactMap { $0.rates[index].tpir }
            return values.count == identification.count ? values.reduce(0, +) / Double(values.count) : nil
        }
    }

    /// For people.
    public var text: String {
        var lines = ["\(set): \(images) images, \(templates) templates"]
        lines += notes.map { "note: \($0)" }
        if let leftOut, let first = leftOut.first {
            lines.append(
                "note: \(leftOut.count) images that do not decode were left out, first \(first.name) (\(first.problem)); --json names all"
            )
        }
        lines.append("1:1  " + verification.text)
        for gallery in identification {
            let figures = gallery.lines
            lines.append("1:N  gallery \(gallery.gallery) (\(gallery.gallerySize)), " + figures[0])
            lines += figures.dropFirst().map { "     " + $0 }
        }
        if !identification.isEmpty {
            lines.append("1:N  all galleries, \(probes) probes: " + Identification.text(rankRates, meanRates))
        }
        return lines.joined(separator: "\n")
    }
}

extension Identification {
    /// For people: the figures, and a line for each rate that something limits.
    var lines: [String] {
        ["\(mated) probes with a mate, \(nonMated) without: " + Self.text(rankRates, rates.map(\.tpir))]
            + rates.compactMap { rate in rate.reason.map { "FPIR \(rate.fpir): \($0)" } }
    }

    fileprivate static func text(_ ranks: [Double]?, _ rates: [Double?]) -> String {
        var parts: [String] = []
        for (index, rank) in Self.ranks.enumerated() {
            parts.append("rank-\(rank) \((ranks?[index]).map(percent) ?? "not resolved")")
        }
        for (fpir, rate) in zip(Self.published, rates) {
            parts.append("TPIR@FPIR=\(fpir) \(rate.map(percent) ?? "not resolved")")
        }
        return parts.joined(separator: "  ")
    }
}

extension AcceptRates {
    /// A table of both definitions, for people.
    public var text: String {
        if let reason { return reason }
        var table = TextTable(["FAR", "TAR, as InsightFace", "its FAR", "TAR, strict"])
        for rate in rates {
            table.add([
                "\(rate.far)", rate.nearest.map(percent) ?? "not resolved",
                rate.nearestFAR.map { "\(Float($0))" } ?? "–",
                rate.strict.map(percent) ?? "not resolved",
            ])
        }
        return
            "\(samePairs) same and \(differentPairs) different pairs, AUC of the whole curve \(rounded(auc ?? 0, places: 6))\n"
            + table.render()
    }
}

extension AllToAll {
    /// For people.
    public var text: String {
        let head = "\(images) images, \(samePairs) same and \(differentPairs) different pairs"
        if let reason { return head + ": " + reason }
        return head + ": "
            + rates.map { "TAR@FAR=\($0.far) \($0.strict.map(percent) ?? "not resolved")" }.joined(separator: "  ")
    }
}

extension OpenSetSearch {
    /// For people.
    public var text: String {
        let head =
            "gallery of \(gallerySize) (\(distractors) distractors), \(probes) probes, \(leftOut) left out without a mate"
        guard let rates else { return head + ": no figure can be given" }
        return head + ": " + zip(Self.ranks, rates).map { "rank-\($0) \(percent($1))" }.joined(separator: "  ")
    }
}

/// A share for people.
func percent(_ value: Double) -> String { rounded(value * 100, places: 2) + " %" }
