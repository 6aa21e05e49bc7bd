public import Dataset
internal import Determinism
internal import Foundation

/// Who is it, among rows in files, of any number: the nearest rows of each probe, and the figures of identification.
///
/// Every row is compared. In bytes (8-bit codes, exact sums of 32 bits) or in f32; scores are cosines in f32, and of equal ones the lower row
/// comes first. In memory are 64 MB of the gallery, the probes, and labels.
public struct RowIdentification: Sendable, Codable {
    /// What is looked for, and how.
    public struct Options: Sendable {
        /// Nearest rows that are kept of each probe.
        public var places = 5
        /// Search in f32, whatever the files hold.
        public var isReal = false
        /// Probes whose search in bytes is compared with one in f32, if the files hold real numbers.
        public var comparedProbes = 1000
        public var threads = 1

        public init() {}
    }

    /// What a search in bytes loses against one in f32.
    public struct Loss: Sendable, Hashable, Codable {
        /// Probes that were compared, evenly among all.
        public var probes: Int
        /// The share of probes with the same nearest row.
        public var recallAt1: Double
        /// k, and the share of the k nearest rows in f32 that are among the k nearest in bytes.
        public var places: Int
        public var recall: Double
        /// Rank-1 of these probes, nil without labels.
        public var rank1: Double?
        public var rank1InF32: Double?
    }

    public var gallerySize: Int
    public var distractors: Int
    public var probes: Int
    /// D.
    public var embeddingSize: Int
    /// `int8` or `f32`.
    public var arithmetic: String
    /// Nil if gallery or probes have no labels.
    public var identification: Identification?
    /// Nil if it was not measured.
    public var loss: Loss?
    /// What limits the figures.
    public var notes: [String] = []
    /// The nearest rows of each probe. Rows of distractors follow those of the gallery.
    public var matches: [[GalleryMatch]] = []
    /// The person of each row of the gallery and of each probe, empty without labels.
    public private(set) var galleryLabels: [Int64] = []
    public private(set) var probeLabels: [Int64] = []

    private enum CodingKeys: String, CodingKey {
        case gallerySize, distractors, probes, embeddingSize, arithmetic, identification, loss, notes
    }

    /// Searches.
    ///
    /// - Parameters:
    ///   - distractors: rows of other persons than the gallery's and the probes', that are searched too.
    ///   - progress: is told how many rows of the gallery are done.
    /// - Throws: `DatasetError` if files cannot be read, do not fit together, or hold what is no finite number.
    public init(
        gallery: EmbeddingRows, probes: EmbeddingRows, distractors: [EmbeddingRows] = [], options: Options = .init(),
        progress: (Int) -> Void = { _ in }
    ) throws(DatasetError) {
        let all = try RowFiles([gallery] + distractors)
        _ = try RowFiles([gallery, probes])
        gallerySize = all.count
        self.distractors = all.count - gallery.count
        (self.probes, embeddingSize) = (probes.count, all.size)
        arithmetic = options.isReal ? "f32" : "int8"
        let mates: [[Int]]
        if let known = try gallery.labels(), let asked = try probes.labels() {
            (galleryLabels, probeLabels) = (known, asked)
            mates = Self.mates(of: asked, in: known)
        } else {
            mates = [[Int]](repeating: [], count: probes.count)
            notes.append("without labels in gallery and probes there are no figures")
        }
        let places = max(1, options.places)
        let rivals = probeLabels.isEmpty ? 0 : Identification.rivals
        func search(_ scores: some GalleryScores, _ mates: [[Int]], rivals: Int, _ progress: (Int) -> Void)
            throws(DatasetError) -> [ProbeFindings]
        {
            try GallerySearch.run(
                scores, mates: mates, rivals: rivals, places: places, threads: options.threads, progress: progress)
        }
        let found: [ProbeFindings]
        if options.isReal {
            let scores = RealScores(gallery: all, probes: try probes.directions(0..<probes.count))
            found = try search(scores, mates, rivals: rivals, progress)
        } else {
            found = try search(ByteScores(gallery: all, probes: probes), mates, rivals: rivals, progress)
        }
        matches = options.places > 0 ? found.map(\.nearest) : []
        if !probeLabels.isEmpty {
            identification = Identification(gallery: gallery.path, gallerySize: all.count, found)
        }
        guard !options.isReal, options.comparedProbes > 0 else { return }
        guard !probes.isBytes, !all.files.contains(where: \.isBytes) else {
            notes.append("the loss against f32 is not known: files hold int8 rows")
            return
        }
        let count = min(options.comparedProbes, probes.count)
        let sample = (0..<count).map { $0 * probes.count / count }
        var rows: [Float] = []
        for index in sample { rows += try probes.directions(index..<index + 1) }
        let real = try search(
            RealScores(gallery: all, probes: rows), sample.map { mates[$0] }, rivals: rivals, { _ in })
        loss = Loss(of: sample.map { found[$0] }, against: real, places: min(places, all.count))
    }

    /// For each probe the rows of its person, ascending. Only persons that are asked for take memory.
    private static func mates(of asked: [Int64], in known: [Int64]) -> [[Int]] {
        var rows = Dictionary(asked.map { ($0, [Int]()) }) { first, _ in first }
        for (row, label) in known.enumerated() { rows[label]?.append(row) }
        return asked.map { rows[$0] ?? [] }
    }
}

extension RowIdentification.Loss {
    fileprivate init(of found: [ProbeFindings], against real: [ProbeFindings], places: Int) {
        let pairs = zip(found, real)
        let count = Double(found.count)
        probes = found.count
        recallAt1 = Double(pairs.count { $0.nearest.first?.row == $1.nearest.first?.row }) / count
        self.places = places
        let common = pairs.reduce(0) { sum, pair in
            sum + Set(pair.0.nearest.map(\.row)).intersection(pair.1.nearest.map(\.row)).count
        }
        recall = Double(common) / (count * Double(places))
        let mated = pairs.filter { $0.0.own != nil }
        guard !mated.isEmpty else { return }
        rank1 = Double(mated.count { $0.0.better < 1 }) / Double(mated.count)
        rank1InF32 = Double(mated.count { $0.1.better < 1 }) / Double(mated.count)
    }
}

extension RowIdentification {
    /// For people.
    public var text: String {
        var lines = [
            "gallery of \(gallerySize) rows (\(distractors) distractors), \(probes) probes, \(embeddingSize) numbers a row, \(arithmetic)"
        ]
        if let identification { lines += identification.lines }
        if let loss {
            var line =
                "loss against f32, \(loss.probes) probes: nearest row the same for \(percent(loss.recallAt1)), \(percent(loss.recall)) of the \(loss.places) nearest found"
            if let rank1 = loss.rank1, let other = loss.rank1InF32 {
                line += "; rank-1 \(percent(rank1)), f32 \(percent(other))"
            }
            lines.append(line)
        }
        return (lines + notes.map { "note: \($0)" }).joined(separator: "\n")
    }

    /// Writes the nearest rows of every probe, a line each: probe, place from 1, row, cosine, and the labels and names of probe and row
    /// where there are some.
    ///
    /// - Parameters:
    ///   - names: of the gallery's rows and of the distractors' behind them, "" where one is not known.
    ///   - probeNames: likewise.
    /// - Throws: `DatasetError` if the file cannot be written.
    public func writeMatches(to path: String, names: [String] = [], probeNames: [String] = []) throws(DatasetError) {
        let temporary = path + ".partial"
        guard FileManager.default.createFile(atPath: temporary, contents: nil),
            let file = FileHandle(forWritingAtPath: temporary)
        else { throw DatasetError(.unwritableFile, path: temporary, "cannot be written") }
        do {
            var text = "probe\tplace\trow\tcosine\tprobe_label\tlabel\tprobe_name\tname\n"
            for (probe, found) in matches.enumerated() {
                let mine = probeLabels.isEmpty ? "" : "\(probeLabels[probe])"
                let myName = probe < probeNames.count ? probeNames[probe] : ""
                for (place, match) in found.enumerated() {
                    let label = match.row < galleryLabels.count ? "\(galleryLabels[match.row])" : ""
                    let name = match.row < names.count ? names[match.row] : ""
                    text +=
                        "\(probe)\t\(place + 1)\t\(match.row)\t\(match.score)\t\(mine)\t\(label)\t\(myName)\t\(name)\n"
                }
                guard text.utf8.count > 1 << 20 || probe == matches.count - 1 else { continue }
                try file.write(contentsOf: Data(text.utf8))
                text = ""
            }
            try file.synchronize()
            try file.close()
        } catch {
            unlink(temporary)
            throw DatasetError(.unwritableFile, path: path, "cannot be written: \(error)")
        }
        guard rename(temporary, path) == 0 else {
            throw DatasetError(.unwritableFile, path: path, "cannot be written: \(String(cString: strerror(errno)))")
        }
    }
}
