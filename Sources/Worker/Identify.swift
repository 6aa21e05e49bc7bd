import ArgumentParser
import Dataset
import Foundation
import ProcessSupport
import Verification

/// `worker identify`.
struct Identify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Search a gallery of embeddings for probes.",
        discussion: """
            Compares every probe with every row of the gallery, by cosine, in int8 with exact sums or with --float in f32. Files are those of \
            `worker embed`, with or without --int8, and of `coordinator export --int8`; f32 rows are encoded as they are read. With labels \
            in both files it prints rank-1 and rank-5, and the true positive identification rate at false positive \
            identification rates 0.01 and 0.1: see docs/evaluation.md. If the files hold f32 rows, it also prints what int8 loses.

            The gallery is read in pieces of 64 MB and may be larger than memory. The result does not depend on --threads.
            """)

    @Option(
        help: "The rows to look in: safetensors, or .npy.", completion: .file(extensions: ["safetensors", "npy"]))
    var gallery: String

    @Option(
        name: [.customLong("probe"), .customLong("probes")], help: "The rows to look for.",
        completion: .file(extensions: ["safetensors", "npy"]))
    var probe: String

    @Option(
        parsing: .upToNextOption, help: "More rows to look in, of persons that are neither in the gallery nor probes.",
        completion: .file(extensions: ["safetensors", "npy"]))
    var distractors: [String] = []

    @Option(help: "Nearest rows of each probe that --output gets, and for which the loss is given.")
    var topK = 5

    @Option(
        help:
            "Write the nearest rows of every probe to this file, separated by tabs, with the names in FILE.names.tsv.",
        completion: .file(extensions: ["tsv"]))
    var output: String?

    @Flag(help: "Search in f32.")
    var float = false

    @Option(help: "Probes whose search is made in f32 too, to see what int8 loses; 0 for none.")
    var compare = 1000

    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: "Threads that compute.")
    var threads = min(1024, ProcessorCores.usableCount)

    func validate() throws {
        guard (1...10_000).contains(topK) else { throw ValidationError("--top-k \(topK) is not in 1...10000") }
        guard compare >= 0 else { throw ValidationError("--compare \(compare) is negative") }
        if let problem = output.flatMap(WritablePlace.problem(ofFile:)) {
            throw ValidationError("--output cannot be written: \(problem)")
        }
        try Overwriting.refuse([("--output", output)], inputs: [gallery, probe] + distractors)
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
    }

    func run() throws {
        do { try identify() } catch {
            Shown.failure("identify", error)
            throw ExitCode(70)
        }
    }

    private func identify() throws {
        let known = try EmbeddingRows(path: gallery)
        let asked = try EmbeddingRows(path: probe)
        let others = try distractors.map(EmbeddingRows.init(path:))
        try checkLabels(known, asked)
        for file in [asked] + others where file.metadata["backbone"] != known.metadata["backbone"] {
            Shown.note("note: \(file.path) and \(gallery) do not say that they are of one backbone")
        }
        var options = RowIdentification.Options()
        (options.places, options.isReal, options.comparedProbes) = (topK, float, compare)
        options.threads = threads
        var progress = CountProgress(total: known.count + others.reduce(0) { $0 + $1.count }, noun: "rows")
        let found = try RowIdentification(
            gallery: known, probes: asked, distractors: others, options: options
        ) { progress.update($0) }
        if let output {
            try found.writeMatches(to: output, names: names([known] + others), probeNames: names([asked]))
        }
        guard json else { return Shown.result(found.text) }
        print(try found.readableJSON())
    }

    /// The names of all rows, "" for those of files without.
    private func names(_ files: [EmbeddingRows]) throws -> [String] {
        try files.flatMap { file in
            try EmbeddingNames.of(file.path, count: file.count) ?? [String](repeating: "", count: file.count)
        }
    }

    /// Labels of folders are places in the order of names: another folder has other ones.
    private func checkLabels(_ known: EmbeddingRows, _ asked: EmbeddingRows) throws(DatasetError) {
        let key = EmbeddingRows.classesKey
        guard let own = known.metadata[key], let other = asked.metadata[key], own != other else { return }
        throw DatasetError(
            .invalidOption, path: probe,
            "its labels count other folders than those of \(gallery), so that a label means another person; embed lists of path, tab and label instead"
        )
    }
}
