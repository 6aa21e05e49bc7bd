import ArgumentParser
import Determinism
import Foundation
import Inference
import Model
import ProcessSupport
import Quantization
import Tensors

/// `experiments inference`.
struct InferenceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inference",
        abstract: "Time a network in use in this process: milliseconds of a batch, in single precision or in integers.",
        discussion:
            "Weights and images are random: no time depends on them. The last line with --json is an object for other programs; times are medians."
    )

    @Option(help: "A network that backbone.name knows.") var network = "mbf"
    @Option(help: "A quantised network's file instead.") var file: String?
    @Option(help: "Bits of the integers; 0: single precision.") var bits = 8
    @Option(help: "Images of a batch.") var batch = 1
    @Option(help: "Threads that compute.") var threads = 1
    @Option(help: "Batches of which the median is taken, after three more.") var repetitions = 51
    @Flag(help: "Print where the time goes.") var profile = false
    @Flag(help: "Print a JSON object.") var json = false

    private struct Figures: Encodable {
        var milliseconds: Double
        var kernels: String
        var peakBytes: Int
    }

    func run() throws {
        let kernels = try InferenceKernels.best()
        let (folded, integers) = try prepared(kernels)
        let images = numbers(batch, folded)
        let engine = InferenceNetwork(
            folded, integers: integers, kernels: kernels, blocks: ParallelBlocks(threads: threads))
        for _ in 0..<3 { _ = engine.embed(images) }
        let seconds = Experiments.medianSeconds(of: repetitions) { _ = engine.embed(images) }
        if profile {
            print(InferenceProfile(folded, integers: integers, kernels: kernels, images: images).table)
        }
        let figures = Figures(
            milliseconds: seconds * 1e3, kernels: kernels.name, peakBytes: ProcessMemory.peakResidentBytes)
        if json {
            try Experiments.sayJSON(figures)
        } else {
            Experiments.say(
                String(
                    format: "%@, %@, B = %d, %d threads, %@: %.3f ms, %.1f images/s", folded.name,
                    bits == 0 ? "f32" : "int\(bits)", batch, threads, kernels.name, seconds * 1e3,
                    Double(batch) / seconds))
        }
    }

    private func numbers(_ count: Int, _ network: FoldedNetwork) -> Tensor {
        var random = KeyedRandom(seed: 1, purpose: .test)
        let e = network.input
        return Tensor(
            (0..<count * e.count).map { _ in Float(2 * random.unit() - 1) },
            shape: [count, e.height, e.width, e.channels])
    }

    private func prepared(_ kernels: InferenceKernels) throws -> (FoldedNetwork, [IntegerLayer?]) {
        if let file {
            let (network, integers, _) = try QuantizedFile.read(file)
            return (network, integers)
        }
        let layout = try ParameterLayout(.named(network))
        guard let graph = layout.graph else { throw ValidationError("\(network) has no operators to time") }
        let folded = try FoldedNetwork(graph, parameters: layout.initialValues(in: 0..<layout.count, seed: 1))
        guard bits > 0 else { return (folded, folded.layers.map { _ in nil }) }
        var options = QuantizationOptions()
        options.bits = bits
        options.method = .range(.max)
        options.places = 1
        let quantizer = Quantizer(
            folded, options: options, kernels: kernels, blocks: ParallelBlocks(threads: threads))
        return (folded, try quantizer.run(numbers(1, folded)).integers)
    }
}
