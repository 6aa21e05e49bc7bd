import ArgumentParser
import Dataset
import Determinism
import Foundation
import Model
import ProcessSupport
import Training
import Verification

/// `worker evaluate`.
struct Evaluate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Verify a trained backbone on verification sets.",
        discussion: """
            Embeds both images of every pair (and their mirror images, unless --no-flip) and prints the accuracy by \
            ten-fold cross-validation and the true accept rate at false accept rates 1e-2, 1e-3 and 1e-4. A rate below one \
            in as many different pairs as there are is not resolved: it is named so, and null in JSON.
            """)

    @Option(
        help: """
            The backbone: a safetensors file that training or `coordinator export` wrote, or with the names of InsightFace's \
            iresnet.
            """, completion: .file(extensions: ["safetensors"]))
    var backbone: String

    @Option(
        name: .customLong("bin"), parsing: .upToNextOption, help: "InsightFace .bin verification sets.",
        completion: .file(extensions: ["bin"]))
    var bins: [String] = []

    @Option(help: "A list of pairs: LFW's pairs.txt, or comma-separated fold,a,b,same.", completion: .file())
    var pairs: String?

    @Option(help: "The folder of the images that --pairs names.", completion: .directory)
    var images: String?

    @Option(help: "Write the ROC curves to this SVG.", completion: .file(extensions: ["svg"]))
    var roc: String?

    @Flag(inversion: .prefixedNo, help: "Add the embedding of the mirror image.")
    var flip = true

    @Flag(help: "Leave out pairs whose images are missing or corrupt, and count them, instead of stopping.")
    var skipMissing = false

    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: "Threads that compute.")
    var threads = min(1024, ProcessorCores.usableCount)

    func validate() throws {
        guard !bins.isEmpty || pairs != nil else { throw ValidationError("name what to evaluate on: --bin or --pairs") }
        guard (pairs == nil) == (images == nil) else { throw ValidationError("--pairs and --images go together") }
        if let problem = roc.flatMap(WritablePlace.problem(ofFile:)) {
            throw ValidationError("--roc cannot be written: \(problem)")
        }
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
    }

    func run() throws {
        do {
            let reports = try evaluate()
            if let roc { try ROCPlot.write(reports, to: roc) }
            if json {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
                print(String(decoding: try encoder.encode(reports), as: UTF8.self))
            } else {
                for report in reports { print(report.summary) }
            }
        } catch {
            FileHandle.standardError.write(Data("worker evaluate: \(error)\n".utf8))
            throw ExitCode(70)
        }
    }

    private func evaluate() throws -> [VerificationReport] {
        let (layout, parameters) = try BackboneFile.read(backbone)
        let shape = ImageShape(
            channels: layout.configuration.inputChannels, height: layout.configuration.inputHeight,
            width: layout.configuration.inputWidth)
        var sets = try bins.map { try VerificationSet(binPath: $0, imageShape: shape) }
        if let pairs, let images {
            sets.append(
                try VerificationSet(
                    pairsPath: pairs, imagesIn: images, imageShape: shape, missing: skipMissing ? .skip : .fatal))
        }
        let batchSize = 64
        let network = try BackboneWorker(
            configuration: layout.configuration, microBatchSize: batchSize, blocks: ParallelBlocks(threads: threads))
        try network.load(parameters)
        var options = EvaluationOptions()
        options.batchSize = batchSize * threads
        options.layout = .nhwc
        options.threads = threads
        options.badSamples = skipMissing ? .skip : .fatal
        return try VerificationSet.distinguished(sets).map { set in
            var set = set
            set.flips = flip
            return try set.evaluate(options: options) { try network.embed(images: $0, order: .nhwc) }
        }
    }
}
