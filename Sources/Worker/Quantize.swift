public import ArgumentParser
import Dataset
import Determinism
import Foundation
import Inference
import Model
import ProcessSupport
public import Quantization
import Tensors
import Verification

/// `worker quantize`.
struct Quantize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Quantise a backbone to integers with EasyQuant.",
        discussion: """
            Chooses the scale of every layer's weights and input such that its output stays nearest to the float network's (Wu et al., \
            arXiv 2006.16669), and writes one safetensors file that `worker evaluate` and `worker embed` take. The same images, \
            options and seed give the same file on any machine. Cosines are between the embeddings of the integers and of the float \
            network, on images that the calibration has not seen.
            """)

    @Argument(
        help: "The backbone: a safetensors or ONNX file.", completion: .file(extensions: ["safetensors", "onnx"]))
    var model: String?

    @Option(help: "The backbone, as other commands name it.", completion: .file(extensions: ["safetensors", "onnx"]))
    var backbone: String?

    @Option(help: "Bits of weights and activations, 2 to 8.")
    var bits = 8

    @Option(
        help: "Images to calibrate with: a folder, a folder with a folder per identity, a train.rec, or a list.",
        completion: .file())
    var calibrate: String

    @Option(name: .shortAndLong, help: "The file to write.", completion: .file(extensions: ["safetensors"]))
    var output: String

    @Option(help: "Images of the calibration, each of another identity if there are enough.")
    var count = 50

    @Option(help: "What the images and the places in them are drawn by.")
    var seed: UInt64 = 1

    @Option(help: "How scales are chosen: easyquant, max, percentile, kl or mse.")
    var method = "easyquant"

    @Option(help: "What a channel's weight scale is chosen by: squared (error), or cosine, as in the paper.")
    var objective = WeightObjective.squared

    @Option(help: "Zero points for layers that gain by one: auto or off.")
    var zeroPoint = ZeroPoint.auto

    @Option(help: "Places of each image at which a layer's output is compared: a number, or all.")
    var places = "16"

    @Option(
        name: .customLong("bits-of"), parsing: .upToNextOption, help: "Layers with other bits: LAYER=BITS.")
    var bitsOf: [String] = []

    @Option(parsing: .upToNextOption, help: "Layers that stay in single precision.")
    var keepFloat: [String] = []

    @Option(help: "Give this many of the most sensitive layers 8 bits.")
    var raise = 0

    @Option(
        help: """
            Give the most sensitive layers 8 bits, one after the other, until the loss is at most this; if 8 bits everywhere are not \
            enough, single precision likewise. The loss is 1 - the embedding's mean cosine to the float network's, or with --bin or \
            --pairs what the accuracy falls by.
            """)
    var maxDrop: Double?

    @Option(
        name: .customLong("bin"), parsing: .upToNextOption, help: "InsightFace .bin verification sets for --max-drop.",
        completion: .file(extensions: ["bin"]))
    var bins: [String] = []

    @Option(
        help: "A list of pairs for --max-drop: LFW's pairs.txt, or comma-separated fold,a,b,same.", completion: .file())
    var pairs: String?

    @Option(help: "The folder of the images that --pairs names.", completion: .directory)
    var images: String?

    @Flag(inversion: .prefixedNo, help: "With --bin or --pairs, add the embedding of the mirror image.")
    var flip = true

    @Option(help: "What becomes of pixels: MEAN,SCALE[,RGB|BGR].")
    var preprocess = Preprocessing()

    @Option(help: "Write what was done to this file as JSON.", completion: .file(extensions: ["json"]))
    var report: String?

    @Option(
        help: "Draw each layer's error (1 - cosine of its output), before the search and after it, to this SVG.",
        completion: .file(extensions: ["svg"]))
    var plot: String?

    @Flag(help: "Measure the quantised network layer by layer at the end.")
    var profile = false

    @Option(help: "Threads that compute.")
    var threads = min(1024, ProcessorCores.usableCount)

    enum ZeroPoint: String, ExpressibleByArgument, CaseIterable { case auto, off }

    func validate() throws {
        _ = try modelPath()
        guard (2...8).contains(bits) else { throw ValidationError("--bits \(bits) is not in 2...8") }
        guard (1...100_000).contains(count) else { throw ValidationError("--count \(count) is not in 1...100000") }
        guard raise >= 0 else { throw ValidationError("--raise \(raise) is negative") }
        if let maxDrop {
            guard maxDrop > 0, maxDrop < 1 else {
                throw ValidationError("--max-drop \(maxDrop) is not between 0 and 1")
            }
            guard raise == 0 else { throw ValidationError("--raise and --max-drop exclude each other") }
        }
        guard (pairs == nil) == (images == nil) else { throw ValidationError("--pairs and --images go together") }
        guard maxDrop != nil || (bins.isEmpty && pairs == nil) else {
            throw ValidationError("--bin and --pairs go with --max-drop")
        }
        guard output.hasSuffix(".safetensors") else {
            throw ValidationError("--output \(output) does not end in .safetensors")
        }
        for (option, path) in [("--output", output)] + (report.map { [("--report", $0)] } ?? [])
            + (plot.map { [("--plot", $0)] } ?? [])
        {
            if let problem = WritablePlace.problem(ofFile: path) {
                throw ValidationError("\(option) cannot be written: \(problem)")
            }
        }
        try Overwriting.refuse(
            [("--output", output), ("--report", report), ("--plot", plot)], inputs: [modelPath(), calibrate])
        guard (1...1024).contains(threads) else { throw ValidationError("--threads \(threads) is not in 1...1024") }
        _ = try options()
    }

    private func modelPath() throws -> String {
        guard let path = model ?? backbone else {
            throw ValidationError("name the backbone: worker quantize MODEL, or --backbone MODEL")
        }
        guard model == nil || backbone == nil else {
            throw ValidationError("MODEL and --backbone \(path) name the backbone twice: leave one out")
        }
        return path
    }

    private func options() throws -> QuantizationOptions {
        var options = QuantizationOptions()
        options.bits = bits
        if let range = RangeMethod(rawValue: method) {
            options.method = .range(range)
        } else if method != "easyquant" {
            throw ValidationError(
                "--method \(method) is none of easyquant, \(RangeMethod.allCases.map(\.rawValue).joined(separator: ", "))"
            )
        }
        options.objective = objective
        options.zeroPoint = zeroPoint == .auto
        options.seed = seed
        if places == "all" {
            options.places = nil
        } else {
            guard let count = Int(places), count > 0 else {
                throw ValidationError("--places \(places) is neither a number from 1 on nor all")
            }
            options.places = count
        }
        for text in bitsOf {
            guard let equals = text.lastIndex(of: "="), let bits = Int(text[text.index(after: equals)...]),
                (2...8).contains(bits)
            else { throw ValidationError("--bits-of \(text) is not LAYER=BITS with 2 to 8 bits") }
            guard options.bitsOf.updateValue(bits, forKey: String(text[..<equals])) == nil else {
                throw ValidationError("--bits-of \(text) is the second for this layer")
            }
        }
        for layer in keepFloat {
            guard options.bitsOf.updateValue(0, forKey: layer) ?? 0 == 0 else {
                throw ValidationError("--keep-float \(layer) and --bits-of \(layer)=… exclude each other")
            }
        }
        return options
    }

    func run() throws {
        do { try quantize() } catch let error as ValidationError { throw error } catch {
            Shown.failure("quantize", error)
            throw ExitCode(70)
        }
    }

    private func quantize() throws {
        var options = try options()
        let model = try modelPath()
        let (graph, parameters) = try LoadedBackbone.readGraph(model)
        let network = try FoldedNetwork(graph, parameters: parameters)
        let names = network.layers.filter { $0.weighted != nil }.map(\.name)
        if let unknown = options.bitsOf.keys.sorted().first(where: { !names.contains($0) }) {
            throw ValidationError(
                "\(model) has no layer \(unknown); \(names.count > 5 ? "the nearest of its \(names.count) are" : "it has") "
                    + NearNames.of(unknown, among: names, count: 5).joined(separator: ", "))
        }
        let preprocess = network.takesPixels ? self.preprocess.leavingPixels() : self.preprocess
        let kernels = try InferenceKernels.best()
        let blocks = ParallelBlocks(threads: threads)
        let quantizer = Quantizer(network, options: options, kernels: kernels, blocks: blocks)
        let data = try CalibrationImages(
            calibrate, shape: ImageShape(network.input), count: count, seed: seed, preprocessing: preprocess,
            threads: threads
        ) { images in
            try MemoryNeed.check(quantizer.peakBytes(images: images), of: ProcessMemory.availableBytes) {
                "a calibration with \(images) images"
            }
        }
        guard data.isCheckApart || maxDrop == nil || !bins.isEmpty || pairs != nil else {
            throw ValidationError(
                "--max-drop is measured on images that the calibration has not seen, and \(calibrate) has no others: lower --count, or give --bin or --pairs"
            )
        }
        for warning in data.warnings { Shown.note("\(calibrate) \(warning)") }
        var sets: PairSets?
        if !bins.isEmpty || pairs != nil {
            sets = try PairSets(
                bins: bins, pairs: pairs.flatMap { list in images.map { (list, $0) } },
                shape: ImageShape(network.input),
                flips: flip, skipsMissing: false, preprocessing: preprocess, threads: threads)
        }
        var search = MixedPrecision(
            network: network, options: options, data: data, sets: sets, kernels: kernels, blocks: blocks,
            note: Shown.note)
        let result = try search.run(raise: raise, maxDrop: maxDrop)
        options = search.options
        let summary = QuantizationReport(
            network: network.name, options: options, calibrationImages: data.calibration.shape[0],
            checkImages: data.check.shape[0], layers: result.layers, cosines: search.cosines, raised: search.raised)
        let json = try summary.readableJSON()
        try QuantizedFile.write(
            network, integers: result.integers, report: json, to: output)
        if let report { try Data((json + "\n").utf8).write(to: URL(fileURLWithPath: report), options: .atomic) }
        if let plot {
            try LogarithmicBars(
                title: "\(network.name): 1 - cosine of each layer's output, everything representable and searched",
                rows: result.layers.map { .init($0.name, before: 1 - $0.before, after: 1 - $0.after) }
            ).write(to: plot)
        }
        Shown.result(summary.table)
        print(
            "cosine to the float network on \(data.isCheckApart ? Units.count(summary.checkImages, "other image") : "the images of the calibration, for want of others"): mean \(Units.fixed(summary.meanCosine, 5)), 1st percentile \(Units.fixed(summary.firstPercentile, 5))"
        )
        print("\(output): \(try size(output)); \(model): \(try size(model))")
        if profile {
            Shown.result(
                InferenceProfile(
                    network, integers: result.integers, kernels: kernels, images: data.check.rows(0..<1)
                ).table)
        }
    }

    private func size(_ path: String) throws -> String {
        Units.bytes((try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0)
    }
}

extension WeightObjective: ExpressibleByArgument {}
