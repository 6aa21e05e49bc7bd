public import ArgumentParser
import Dataset
import Foundation
import Model
import ProcessSupport
public import Verification

/// `worker evaluate`.
struct Evaluate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Verify a trained backbone on verification sets.",
        discussion: """
            Embeds both images of every pair (and their mirror images, unless --no-flip) and prints the accuracy by \
            ten-fold cross-validation and the true accept rate at false accept rates 1e-2, 1e-3 and 1e-4. A rate below one \
            in as many different pairs as there are is not resolved: it is named so, and null in JSON.

            With --ijb, --gallery and --probes, or --all-to-all it computes what those protocols define: see docs/evaluation.md.
            """)

    @Option(
        help: """
            The backbone: an ONNX file, or a safetensors file that training or `coordinator export` wrote, or with the names of InsightFace's \
            iresnet.
            """, completion: .file(extensions: ["safetensors", "onnx"]))
    var backbone: String?

    @Option(
        help: """
            The network that a safetensors file from elsewhere holds, if its tensors do not show it: \(BackboneConfiguration.names.joined(separator: ", ")).
            """)
    var network: String?

    @Option(
        name: .customLong("bin"), parsing: .upToNextOption, help: "InsightFace .bin verification sets.",
        completion: .file(extensions: ["bin"]))
    var bins: [String] = []

    @Option(help: "A list of pairs: LFW's pairs.txt, or comma-separated fold,a,b,same.", completion: .file())
    var pairs: String?

    @Option(help: "The folder of the images that --pairs names.", completion: .directory)
    var images: String?

    @Option(help: "IJB-B or IJB-C: the folder that has meta and loose_crop.", completion: .directory)
    var ijb: String?

    @Option(
        help:
            "Which set --ijb is: \(TemplateSet.Name.allCases.map(\.rawValue).joined(separator: " or ")). Not needed if the folder has one."
    )
    var set: TemplateSet.Name?

    @Option(
        help: "Ready embeddings of the lines of --ijb's face_tid_mid.txt: .npy, or safetensors with features [n, D].",
        completion: .file(extensions: ["npy", "safetensors"]))
    var embeddings: String?

    @Flag(
        inversion: .prefixedNo,
        help: "With --ijb, pool embeddings as they are. Otherwise they are brought to length 1 before.")
    var keepNorm = true

    @Flag(inversion: .prefixedNo, help: "With --ijb, weight embeddings by the detector's score.")
    var detectorScore = true

    @Flag(help: "With --ijb, also 1:N identification with the galleries of the set.")
    var identification = false

    @Option(
        help: "A folder of gallery images, called PERSON_…, for a search as TinyFace defines it.",
        completion: .directory)
    var gallery: String?

    @Option(help: "The folder of the images to look for in --gallery, called likewise.", completion: .directory)
    var probes: String?

    @Option(help: "A folder of images that --gallery is joined with, of other persons.", completion: .directory)
    var distractors: String?

    @Option(
        help:
            "Compare every pair of a labelled set: images as `worker embed` reads them, or a safetensors file that it wrote.",
        completion: .file())
    var allToAll: String?

    @Option(help: "What becomes of pixels: MEAN,SCALE[,RGB|BGR].")
    var preprocess = Preprocessing()

    @Option(help: "Write the ROC curves to this SVG.", completion: .file(extensions: ["svg"]))
    var roc: String?

    @Flag(inversion: .prefixedNo, help: "Add the embedding of the mirror image.")
    var flip = true

    @Flag(help: "Leave out pairs whose images are missing or corrupt, and count them, instead of stopping.")
    var skipMissing = false

    @Flag(
        help: """
            With --ijb, leave out images that do not decode, and count them, instead of stopping. All are decoded once before.
            """)
    var skipUndecodable = false

    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: "Threads that compute.")
    var threads = min(1024, ProcessorCores.usableCount)

    func validate() throws {
        let kinds = [!bins.isEmpty || pairs != nil, ijb != nil, gallery != nil, allToAll != nil].count { $0 }
        guard kinds > 0 else {
            throw ValidationError(
                "name what to evaluate on: --bin, --pairs, --ijb, --gallery with --probes, or --all-to-all")
        }
        guard kinds == 1 else {
            throw ValidationError("--bin or --pairs, --ijb, --gallery and --all-to-all are evaluated one at a time")
        }
        let isReady = embeddings != nil || allToAll?.hasSuffix(".safetensors") == true
        guard isReady != (backbone != nil) else {
            throw ValidationError(isReady ? "with ready embeddings, --backbone has no use" : "--backbone is needed")
        }
        guard network == nil || backbone != nil else { throw ValidationError("--network goes with --backbone") }
        guard (gallery == nil) == (probes == nil), distractors == nil || gallery != nil else {
            throw ValidationError("--gallery and --probes go together, and --distractors with them")
        }
        guard ijb != nil || (set == nil && embeddings == nil && !identification && keepNorm && detectorScore) else {
            throw ValidationError(
                "--set, --embeddings, --no-keep-norm, --no-detector-score and --identification go with --ijb")
        }
        guard !skipMissing && roc == nil || !bins.isEmpty || pairs != nil else {
            throw ValidationError("--skip-missing and --roc go with --bin and --pairs")
        }
        guard !skipUndecodable || (ijb != nil && embeddings == nil) else {
            throw ValidationError("--skip-undecodable goes with --ijb and a backbone")
        }
        guard (pairs == nil) == (images == nil) else { throw ValidationError("--pairs and --images go together") }
        if let problem = roc.flatMap(WritablePlace.problem(ofFile:)) {
            throw ValidationError("--roc cannot be written: \(problem)")
        }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
    }

    func run() throws {
        do {
            if let ijb {
                let report = try evaluateTemplates(ijb)
                try show(report, report.text)
            } else if let gallery, let probes {
                let report = try evaluateOpenSet(gallery: gallery, probes: probes)
                try show(report, report.text)
            } else if let allToAll {
                let report = try evaluateAllToAll(allToAll)
                try show(report, report.text)
            } else {
                let reports = try evaluate()
                if let roc { try ROCPlot.write(reports, to: roc) }
                try show(reports, reports.map(\.summary).joined(separator: "\n"))
            }
        } catch {
            Shown.failure("evaluate", error)
            throw ExitCode(70)
        }
    }

    private func show(_ report: some Encodable, _ text: String) throws {
        guard json else { return Shown.result(text) }
        print(try report.readableJSON())
    }

    private func evaluate() throws -> [VerificationReport] {
        guard let backbone else { throw DatasetError(.invalidOption, "--backbone is needed") }
        let network = try LoadedBackbone(backbone, as: self.network, threads: threads)
        let sets = try PairSets(
            bins: bins, pairs: pairs.flatMap { list in images.map { (list, $0) } }, shape: network.shape, flips: flip,
            skipsMissing: skipMissing, preprocessing: network.preprocessing(preprocess), threads: threads)
        return try sets.evaluate(batchSize: network.batchSize) { try network.embed($0) }
    }
}

extension TemplateSet.Name: ExpressibleByArgument {}
