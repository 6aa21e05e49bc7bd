public import ArgumentParser
import CKernels
import Determinism
import Foundation
import Inference
public import Model
import ProcessSupport
import Tensors
import Training

/// `experiments backbone`.
struct BackboneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backbone",
        abstract: "Time a backbone in this process: images per second, training and inference.",
        discussion:
            "Training is forward, backward, clip and SGD, and packing of the new weights. The last line with --json is an object for other programs; times are medians."
    )

    @Option(help: "A network that backbone.name knows.") var network = "iresnet18"
    @Option(help: "B.") var batch = 32
    @Option(help: "Samples of a micro-batch; 0: one for each thread, but at most 32.") var microBatch = 0
    @Option(help: "Threads that compute.") var threads = 2
    @Option(help: "Steps of which the median is taken, after one more.") var repetitions = 3
    @Option(help: "What training computes in: f32 or bf16.") var compute = BackboneCompute.f32
    @Flag(help: "Print a JSON object.") var json = false

    private struct Figures: Encodable {
        /// Images per second.
        var training: Double
        var inference: Double
        var peakBytes: Int
    }

    func run() throws {
        ProcessMemory.keepFreedMemory()
        let configuration = try BackboneConfiguration.named(network)
        let size = microBatch > 0 ? microBatch : max(2, min(32, batch / max(1, threads)))
        guard batch % size == 0 else {
            throw ValidationError("a batch of \(batch) is not whole micro-batches of \(size)")
        }
        let worker = try BackboneWorker(
            layout: ParameterLayout(configuration), microBatchSize: size, blocks: ParallelBlocks(threads: threads),
            compute: compute)
        let layout = worker.layout
        var (parameters, momentum) = (
            layout.initialValues(in: 0..<layout.count, seed: 1), Tensor(zeros: Float.self, shape: [layout.count])
        )
        var random = KeyedRandom(seed: 1, purpose: .test)
        func numbers(_ shape: [Int]) -> Tensor {
            Tensor((0..<shape.reduce(1, *)).map { _ in Float(random.unit()) }, shape: shape)
        }
        let images = numbers([batch, configuration.inputChannels, configuration.inputHeight, configuration.inputWidth])
        let upstream = numbers([batch, configuration.embeddingSize])
        let microBatches = batch / size
        try worker.load(parameters)

        func step() throws {
            _ = try worker.forward(images: images)
            let sums = try worker.backward(upstream, microBatches: 0..<microBatches, of: microBatches).gradients
            let next = Tensor(uninitialized: Float.self, shape: [layout.count])
            let nextMomentum = Tensor(uninitialized: Float.self, shape: [layout.count])
            let gradient = sums.pointer(Float.self)
            let norm = pfc_squared_norm(gradient, layout.count).squareRoot()
            pfc_sgd(
                parameters.pointer(Float.self), momentum.pointer(Float.self), gradient, layout.count,
                Float(min(1, 5 / norm)), 1e-4, 0.9, 5e-4, next.pointer(Float.self), nextMomentum.pointer(Float.self))
            (parameters, momentum) = (next, nextMomentum)
            try worker.load(parameters)
        }
        guard let graph = layout.graph else { throw ValidationError("\(network) has no operators to time") }
        let engine = InferenceNetwork(
            try FoldedNetwork(graph, parameters: parameters), kernels: try .best(),
            blocks: ParallelBlocks(threads: threads))
        _ = engine.embed(images)
        let inference = Experiments.medianSeconds(of: repetitions) { _ = engine.embed(images) }
        try step()
        let training = try Experiments.medianSeconds(of: repetitions, step)
        let figures = Figures(
            training: Double(batch) / training, inference: Double(batch) / inference,
            peakBytes: ProcessMemory.peakResidentBytes)
        if json {
            try Experiments.sayJSON(figures)
        } else {
            Experiments.say(
                String(
                    format: "%@, B = %d: %.2f images/s training, %.2f inference, %.2f GB at most", network, batch,
                    figures.training, figures.inference, Double(figures.peakBytes) / 1e9))
        }
    }
}

extension BackboneCompute: ExpressibleByArgument {}
