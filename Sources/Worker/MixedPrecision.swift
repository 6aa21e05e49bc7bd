import Dataset
import Determinism
import Foundation
import Inference
import Model
import ProcessSupport
import Quantization
import Tensors
import Verification

/// Quantises, and gives sensitive layers more bits until what was asked for holds.
struct MixedPrecision {
    let network: FoldedNetwork
    /// Afterwards with the bits of every layer that was raised.
    private(set) var options: QuantizationOptions
    let data: CalibrationImages
    let sets: PairSets?
    let kernels: InferenceKernels
    let blocks: ParallelBlocks
    let note: (String) -> Void
    /// Of the embeddings of the check's images to the float network's.
    private(set) var cosines: [Double] = []
    private(set) var raised: [LayerSensitivity] = []

    init(
        network: FoldedNetwork, options: QuantizationOptions, data: CalibrationImages, sets: PairSets?,
        kernels: InferenceKernels, blocks: ParallelBlocks, note: @escaping (String) -> Void
    ) {
        (self.network, self.options, self.data, self.sets) = (network, options, data, sets)
        (self.kernels, self.blocks, self.note) = (kernels, blocks, note)
    }

    /// - Parameters:
    ///   - raise: layers that get 8 bits whatever is measured.
    ///   - maxDrop: the most that may be lost; nil for no limit.
    /// - Throws: `BackboneError` if the limit cannot be held; what evaluating a set throws.
    mutating func run(raise: Int, maxDrop: Double?) throws -> Quantizer.Result {
        let quantizer = Quantizer(network, options: options, kernels: kernels, blocks: blocks)
        let float = quantizer.floatEmbeddings(data.check)
        let size = network.embeddingSize
        let values = float.buffer(Float.self)
        let zero = (0..<float.shape[0]).first { row in (0..<size).allSatisfy { values[row * size + $0] == 0 } }
        if let zero {
            // ReLU makes zeros of what is no number.
            if let bad = quantizer.firstNonFinite(data.check.rows(zero..<zero + 1)) {
                throw Self.notFinite(bad, of: data.checkNames[zero])
            }
            throw BackboneError(
                .invalidInput,
                "the network's embedding of \(data.checkNames[zero]) is zero: there is nothing to compare with")
        }
        for layer in quantizer.tooDeep {
            note(
                "\(layer.name) stays in single precision: sums of \(layer.weighted?.depth ?? 0) products do not fit 32 bits"
            )
        }
        let accuracy = try sets.map { try mean($0, network.layers.map { _ in nil }) }
        var result = try quantize(float)
        guard raise > 0 || maxDrop != nil else { return result }
        func loss(_ result: Quantizer.Result) throws -> Double {
            guard let sets, let accuracy else { return 1 - QuantizationReport.mean(cosines) }
            do { return accuracy - (try mean(sets, result.integers)) } catch let error as DatasetError
                where error.code == .badEmbedding
            {
                // Bits so few that an image's embedding is zero: everything is lost.
                return 1
            }
        }
        let order = quantizer.sensitivities(result.integers, data.check, float: float)
        // 8 bits first; where every layer has them, single precision.
        var ladder: [(sensitivity: LayerSensitivity, bits: Int)] = options.bits < 8 ? order.map { ($0, 8) } : []
        if maxDrop != nil { ladder += order.map { ($0, 0) } }
        var (next, step) = (0, raise > 0 ? raise : 1)
        var lost = try loss(result)
        while next < ladder.count, raise > 0 || lost > maxDrop ?? 1 {
            let entries = ladder[next..<min(ladder.count, next + step)]
            for entry in entries {
                options.bitsOf[entry.sensitivity.layer] = entry.bits
                raised.append(entry.sensitivity)
            }
            next += entries.count
            let names = entries.map {
                "\($0.sensitivity.layer) \($0.bits == 0 ? "in single precision" : "with 8 bits")"
            }
            note((maxDrop == nil ? "" : "lost \(Units.fixed(lost, 5)); ") + "again, \(names.joined(separator: ", "))")
            result = try quantize(float)
            lost = try loss(result)
            if raise > 0 { break }
            // Every pass costs a search: more layers at a time when many are needed.
            step = max(1, next / 2)
        }
        if let maxDrop, lost > maxDrop {
            throw BackboneError(.invalidInput, "\(lost) is lost with every layer raised; --max-drop is \(maxDrop)")
        }
        return result
    }

    private mutating func quantize(_ float: Tensor) throws -> Quantizer.Result {
        let quantizer = Quantizer(network, options: options, kernels: kernels, blocks: blocks)
        var progress = LayerProgress(total: network.layers.count { $0.weighted != nil })
        let result: Quantizer.Result
        do throws(NonFiniteValue) {
            result = try quantizer.run(data.calibration) { progress.update($0) }
        } catch { throw Self.notFinite(error, of: data.names[error.image]) }
        cosines = quantizer.cosines(result.integers, data.check, float: float)
        guard let bad = cosines.firstIndex(where: { !$0.isFinite }) else { return result }
        throw BackboneError(
            .nonFinite, "the embedding of \(data.checkNames[bad]) is not finite; \(Self.advice)")
    }

    private static let advice = "are the network's weights whole, and is --preprocess its own?"

    private static func notFinite(_ value: NonFiniteValue, of image: String) -> BackboneError {
        BackboneError(.nonFinite, "layer \(value.layer) gives a value that is not finite for \(image); \(advice)")
    }

    /// The mean accuracy over all sets.
    private func mean(_ sets: PairSets, _ integers: [IntegerLayer?]) throws -> Double {
        let engine = InferenceNetwork(network, integers: integers, kernels: kernels, blocks: blocks)
        let reports = try sets.evaluate(batchSize: 64 * blocks.threads) { engine.embed($0) }
        let accuracies = try reports.map { report in
            guard let accuracy = report.accuracy else {
                throw DatasetError(
                    .invalidOption,
                    "\(report.name) gives no accuracy to hold: \(report.reason ?? "it has no pairs of one kind")")
            }
            return accuracy
        }
        return accuracies.reduce(0, +) / Double(max(1, accuracies.count))
    }
}

/// Shows on standard error which layer was quantised: with its objective before and after on a terminal, else a line every ten seconds,
/// as the table at the end has the rest.
private struct LayerProgress {
    private let total: Int
    private var done = 0
    private var shown = ContinuousClock.now
    private let isTerminal = isatty(STDERR_FILENO) == 1

    init(total: Int) { self.total = total }

    mutating func update(_ layer: Quantizer.LayerReport) {
        done += 1
        guard isTerminal else {
            guard .now - shown >= .seconds(10) else { return }
            shown = .now
            return Shown.note("\(done)/\(total) layers")
        }
        let width = 24
        let filled = done * width / max(1, total)
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
        let text =
            "[\(bar)] \(done)/\(total)  \(layer.name)  \(layer.bits) bits  1 - cosine \(Units.fixed(1 - layer.before, 6)) -> \(Units.fixed(1 - layer.after, 6))"
        FileHandle.standardError.write(
            Data("\r\(text.printable)\u{1B}[K\(done == total ? "\n" : "")".utf8))
    }
}
