import ArgumentParser
import Cluster
import Determinism
import Foundation
import Model
import ParameterStore
import PartialFC
import ProcessSupport
import Tensors

/// `experiments head`.
struct Head: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Time the whole step of the head in this process: one shard, one worker, no sockets.",
        discussion: "The last line with --json is an object for other programs; times are medians.")

    @OptionGroup var options: HeadOptions

    @Flag(help: "Print a JSON object.")
    var json = false

    func run() throws {
        let figures = try options.measure()
        if json {
            try Experiments.sayJSON(figures)
        } else {
            Experiments.say(figures.text)
        }
    }
}

/// What `experiments head` measures.
struct HeadOptions: ParsableArguments {
    @Option(help: "C: classes.") var classes = 1_000_000
    @Option(help: "D.") var embeddingSize = 512
    @Option(help: "B.") var batch = 128
    @Option(help: "Samples of a micro-batch.") var microBatch = 32
    @Option(help: "r.") var sampleRate = 0.1
    @Option(help: "Slices.") var slices = 16
    @Option(help: "How rows are kept: f32 or bf16.", transform: named) var storage = NumberFormat.f32
    @Option(help: "How momentum is kept: f32, bf16, int8 or none.", transform: named)
    var momentumStorage = NumberFormat.f32
    @Option(help: "What products are computed in: f32, fma or bf16.", transform: named) var compute = Compute.f32
    @Option(help: "Threads that compute.") var threads = 2
    @Option(help: "Steps of which the median is taken, after two more.") var repetitions = 9

    func measure() throws -> HeadFigures {
        ProcessMemory.keepFreedMemory()
        let configuration = HeadConfiguration(
            classCount: classes, embeddingSize: embeddingSize, sliceCount: slices, seed: 1, scale: 64,
            margins: .arcFace(), sampleRate: sampleRate,
            optimizer: .sgd(.init(momentum: momentumStorage == .none ? 0 : 0.9, storage: momentumStorage)),
            storage: storage, compute: compute)
        let clock = ContinuousClock()
        var made: LocalStep?
        let start = try clock.measure { made = try LocalStep(configuration, threads: threads) }
        guard let head = made else { throw ExitCode(70) }
        var random = KeyedRandom(seed: 1, purpose: .test)
        let features = Tensor(
            (0..<batch * embeddingSize).map { _ in Float(random.unit() - 0.5) }, shape: [batch, embeddingSize])
        var seconds = [[Double]](repeating: [], count: 4)
        var sampled = 0
        for step in 0..<repetitions + 2 {
            let labels = (0..<batch).map { _ in Int64(random.below(UInt64(classes))) }
            var phases: [Double] = []
            func time(_ body: () throws -> Void) rethrows { phases.append(try clock.measure(body) / .seconds(1)) }
            let batch = LocalStep.Batch(
                number: step, features: features, labels: labels, microBatchSize: microBatch)
            try time { try head.sample(batch) }
            sampled = head.shards[0].sampledIDs.count
            var outputs: [WorkerHead.Output] = []
            try time { outputs = try head.forward(batch) }
            try time {
                try head.backward(batch, outputs, learningRate: 0.01)
                try head.update(learningRate: 0.01)
                try head.commit()
            }
            phases.append(phases.reduce(0, +))
            if step >= 2 { for (index, value) in phases.enumerated() { seconds[index].append(value) } }
        }
        let medians = seconds.map { Experiments.median($0) * 1000 }
        return HeadFigures(
            classes: classes, embeddingSize: embeddingSize, batch: batch, microBatch: microBatch, slices: slices,
            sampleRate: sampleRate,
            storage: storage.rawValue, momentumStorage: momentumStorage.rawValue, compute: compute.rawValue,
            threads: threads, sampled: sampled, startSeconds: start / .seconds(1), beginMilliseconds: medians[0],
            forwardMilliseconds: medians[1], backwardMilliseconds: medians[2], milliseconds: medians[3],
            residentBytes: ProcessMemory.peakResidentBytes
        ).completed()
    }
}

/// The case with this name.
private func named<Value: RawRepresentable & CaseIterable>(_ name: String) throws -> Value
where Value.RawValue == String {
    guard let value = Value(rawValue: name) else {
        throw ValidationError("\(name) is none of \(Value.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return value
}

/// What was measured of a step of the head.
struct HeadFigures: Codable {
    var classes: Int
    var embeddingSize: Int
    var batch: Int
    var microBatch: Int
    var slices: Int
    var sampleRate: Double
    var storage: String
    var momentumStorage: String
    var compute: String
    var threads: Int
    /// Rows that take part in a step.
    var sampled: Int
    /// Seconds to make the initial rows.
    var startSeconds: Double
    var beginMilliseconds: Double
    var forwardMilliseconds: Double
    var backwardMilliseconds: Double
    /// Median of whole steps.
    var milliseconds: Double
    /// Peak of the process.
    var residentBytes: Int

    /// Of the three products that a step cannot do without: logits, numerators, row gradients.
    var gigaflopsPerSecond = 0.0
    /// Of rows and momentum that a step must at least read and write.
    var gigabytesPerSecond = 0.0

    /// With what follows from the others.
    func completed() -> HeadFigures {
        var figures = self
        let format = TableFormat(
            rows: NumberFormat(rawValue: storage) ?? .f32, momentum: NumberFormat(rawValue: momentumStorage) ?? .f32)
        figures.gigaflopsPerSecond = 6 * Double(batch) * Double(sampled) * Double(embeddingSize) / 1e6 / milliseconds
        figures.gigabytesPerSecond = 2 * Double(sampled * format.byteCount(width: embeddingSize)) / 1e6 / milliseconds
        return figures
    }

    var text: String {
        "\(classes) × \(embeddingSize), r = \(sampleRate), \(storage)/\(momentumStorage), \(compute) products, \(threads) threads: "
            + "\(Units.fixed(milliseconds, 1)) ms (begin \(Units.fixed(beginMilliseconds, 1)), forward \(Units.fixed(forwardMilliseconds, 1)), "
            + "backward and update \(Units.fixed(backwardMilliseconds, 1))), "
            + "\(Units.fixed(gigaflopsPerSecond, 0)) GFLOP/s, \(Units.fixed(gigabytesPerSecond, 2)) GB/s, "
            + "\(Units.fixed(Double(residentBytes) / 1e9, 2)) GB, rows made in \(Units.fixed(startSeconds, 1)) s"
    }
}
