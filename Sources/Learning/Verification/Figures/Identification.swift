public import Dataset
internal import Foundation

/// Who is it, among the persons of a gallery: ranks, and true positive rates where some are not in it (open set).
public struct Identification: Sendable, Hashable, Codable {
    /// The false positive rates that papers give.
    public static let published = [0.01, 0.1]
    /// The ranks that papers give.
    public static let ranks = [1, 5]

    /// The true positive identification rate at a false positive identification rate.
    public struct Rate: Sendable, Hashable, Codable {
        public var fpir: Double
        /// The share of mated probes whose own score is above every other and above the threshold; nil if there is none.
        public var tpir: Double?
        public var threshold: Float?
        /// What limits the figure, nil if nothing does.
        public var reason: String?
    }

    /// The gallery's name.
    public var gallery: String
    public var gallerySize: Int
    /// Probes whose person is in the gallery.
    public var mated: Int
    public var nonMated: Int
    /// Mated probes whose own template is among the k best, for each k of `ranks`. Of equal scores the wrong one counts as the better.
    public var hits: [Int]
    public var rates: [Rate]

    /// The share of mated probes that are among the k best, for each k of `ranks`; nil if there are none.
    public var rankRates: [Double]? { mated > 0 ? hits.map { Double($0) / Double(mated) } : nil }

    /// Compares probes with a gallery.
    ///
    /// - Parameters:
    ///   - features: of all templates, at length 1.
    ///   - gallery: its templates and their persons, of whom none is there twice.
    ///   - probes: templates and persons.
    /// - Throws: never, as all is in memory.
    public init(
        _ features: TemplateFeatures, gallery: TemplateList, probes: TemplateList, threads: Int,
        at fpirs: [Double] = published
    ) throws(DatasetError) {
        let places = Dictionary(gallery.persons.enumerated().map { ($1, $0) }) { first, _ in first }
        let mates = probes.persons.map { person in places[person].map { [$0] } ?? [] }
        let found = try GallerySearch.run(
            RealScores(
                gallery: features.rows(gallery.rows), probes: features.rows(probes.rows), size: features.size),
            mates: mates, rivals: Self.rivals, places: 0, threads: threads)
        self.init(gallery: gallery.name, gallerySize: gallery.rows.count, found, at: fpirs)
    }

    /// Scores of other persons that the figures need.
    static let rivals = ranks.max() ?? 1

    /// The figures of what probes have found; a person may have several rows, of which the best counts.
    init(gallery: String, gallerySize: Int, _ found: [ProbeFindings], at fpirs: [Double] = published) {
        self.gallery = gallery
        self.gallerySize = gallerySize
        let matedCount = found.count { $0.own != nil }
        mated = matedCount
        nonMated = found.count - matedCount
        hits = Self.ranks.map { rank in found.count { $0.own != nil && $0.better < rank } }
        let negatives = found.filter { $0.own == nil }.map { $0.best ?? -.infinity }.sorted(by: >)
        rates = fpirs.map { fpir in
            guard matedCount > 0, !negatives.isEmpty else {
                return Rate(
                    fpir: fpir,
                    reason: matedCount > 0
                        ? "every probe is of a person in the gallery: there is no false positive"
                        : "no probe is of a person in the gallery")
            }
            let place = Int(Double(negatives.count) * fpir)
            let threshold = negatives[max(place - 1, 0)]
            let right = found.count { probe in
                probe.own.map { probe.better == 0 && $0 > threshold } ?? false
            }
            return Rate(
                fpir: fpir, tpir: Double(right) / Double(matedCount), threshold: threshold,
                reason: place < 1
                    ? "\(negatives.count) probes without a mate do not resolve it: the threshold is the highest of their scores"
                    : nil)
        }
    }
}

/// Templates and whose they are: a gallery, or probes.
public struct TemplateList: Sendable {
    public let name: String
    /// Index of each in the set's templates.
    public let rows: [Int32]
    /// The person of each.
    public let persons: [Int32]

    public init(name: String, rows: [Int32], persons: [Int32]) {
        precondition(rows.count == persons.count, "one person per template")
        (self.name, self.rows, self.persons) = (name, rows, persons)
    }

    /// The galleries of a set, by the names of their files.
    public static func galleries(of set: TemplateSet) -> [String] {
        switch set.name {
        case .ijbb: ["S1", "S2"]
        case .ijbc: ["G1", "G2"]
        }
    }

    /// Reads `meta/t_1N_gallery_NAME.csv`, a person of which may be there once.
    ///
    /// - Throws: `DatasetError` with file and line, also if a template has no image.
    public static func gallery(_ name: String, of set: TemplateSet) throws(DatasetError) -> TemplateList {
        try TemplateList(name, file: "1N_gallery_\(name).csv", of: set, isGallery: true)
    }

    /// Reads `meta/t_1N_probe_mixed.csv`; a template is read once.
    ///
    /// - Throws: as `gallery`.
    public static func probes(of set: TemplateSet) throws(DatasetError) -> TemplateList {
        try TemplateList("probes", file: "1N_probe_mixed.csv", of: set, isGallery: false)
    }

    private init(_ name: String, file: String, of set: TemplateSet, isGallery: Bool) throws(DatasetError) {
        var lines = try MetaLines(path: TemplateSet.path(set.folder, set.name, file))
        var persons: [Int32: Int32] = [:]
        var owners: [Int32: Int32] = [:]
        var order: [Int32] = []
        guard let header = try lines.next() else { throw DatasetError(.noSamples, path: lines.path, "is empty") }
        guard header.split(separator: 0x2C).first.flatMap(MetaTokens.number) == nil else {
            throw lines.fail("is no header: the first line has the columns' names")
        }
        while let line = try lines.next() {
            if line.isEmpty { continue }
            let fields = line.split(separator: 0x2C, omittingEmptySubsequences: false)
            guard fields.count >= 2, let template = MetaTokens.number(fields[0]),
                let person = MetaTokens.number(fields[1])
            else { throw lines.fail("does not begin with a template id, a comma and a subject id") }
            if let known = persons[template] {
                guard known == person else {
                    throw lines.fail("gives template \(template) a second subject", code: .unlikely)
                }
                continue
            }
            guard set.index(of: template) != nil else {
                throw lines.fail(TemplatePairs.unknown(template), code: .unlikely)
            }
            if isGallery, let other = owners[person] {
                throw lines.fail("gives subject \(person) a second template beside \(other)", code: .unlikely)
            }
            persons[template] = person
            owners[person] = template
            order.append(template)
        }
        guard !order.isEmpty else { throw DatasetError(.noSamples, path: lines.path, "has no lines but its header") }
        self.init(name: name, rows: order.map { set.index(of: $0) ?? 0 }, persons: order.map { persons[$0] ?? 0 })
    }
}

extension TemplateFeatures {
    /// The rows `indices`, one after another.
    func rows(_ indices: [Int32]) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(indices.count * size)
        for index in indices { result.append(contentsOf: values[Int(index) * size..<(Int(index) + 1) * size]) }
        return result
    }
}
