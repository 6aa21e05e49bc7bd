import ArgumentParser
import Determinism
import Foundation
import PartialFC
import ProcessSupport
import Tensors

/// `experiments bench`.
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Time the head's part of a step in this process: one shard, one worker, no sockets.")

    @Option(help: "Classes.")
    var classes: [Int] = [10_000, 100_000]

    @Option(help: "D.")
    var embeddingSize = 512

    @Option(help: "B.")
    var batch = 128

    @Option(help: "r.")
    var sampleRate = 0.1

    @Option(help: "Steps of which the median is taken.")
    var repetitions = 9

    @Option(help: "Threads that compute.")
    var threads = 1

    /// How the work is cut into blocks.
    private struct Cut {
        var name: String
        var slices: Int
        var microBatch: Int
    }

    func run() throws {
        ProcessMemory.keepFreedMemory()
        var table = TextTable([
            "classes", "sampled", "blocks", "slices", "micro-batch", "begin ms", "forward ms", "backward ms",
            "update ms",
            "step ms", "ratio",
        ])
        for count in classes {
            let cuts = [
                Cut(name: "one", slices: 1, microBatch: batch),
                Cut(name: "fixed order", slices: 16, microBatch: max(1, batch / 4)),
                Cut(name: "fixed order, fine", slices: 64, microBatch: max(1, batch / 8)),
            ]
            var baseline: Double?
            for cut in cuts {
                let (sampled, phases) = try measure(classes: count, cut)
                let total = phases.reduce(0, +)
                baseline = baseline ?? total
                table.add(
                    ["\(count)", "\(sampled)", cut.name, "\(cut.slices)", "\(cut.microBatch)"]
                        + (phases + [total]).map { Units.fixed($0 * 1000, 2) } + [
                            Units.fixed(total / (baseline ?? total), 2)
                        ])
            }
        }
        Experiments.say(table.render())
        Experiments.say(
            "B = \(batch), D = \(embeddingSize), r = \(sampleRate), \(threads) threads, medians of \(repetitions); ratio to one block, which a sum in any order could use"
        )
    }

    /// Medians of the seconds of begin, forward (with the worker's merge), backward and update.
    private func measure(classes: Int, _ cut: Cut) throws -> (sampled: Int, phases: [Double]) {
        let configuration = HeadConfiguration(
            classCount: classes, embeddingSize: embeddingSize, sliceCount: cut.slices, seed: 1, scale: 64,
            margins: .cosFace(), interclassFilter: 0, sampleRate: sampleRate, momentum: 0.9, weightDecay: 5e-4)
        let shard = try ShardHead(configuration: configuration, slices: SliceSet(0..<cut.slices), threads: threads)
        let worker = try WorkerHead(configuration: configuration, threads: threads)
        var random = KeyedRandom(seed: 1, purpose: .test)
        let features = Tensor(
            (0..<batch * embeddingSize).map { _ in Float(random.unit() - 0.5) }, shape: [batch, embeddingSize])
        let microBatches = 0..<batch / cut.microBatch
        var seconds = [[Double]](repeating: [], count: 4)
        var sampled = 0
        for step in 0..<repetitions + 2 {
            let labels = (0..<batch).map { _ in Int64(random.below(UInt64(classes))) }
            let clock = ContinuousClock()
            let begin = try clock.measure {
                try shard.begin(step: step, microBatchSize: cut.microBatch, labels: labels)
            }
            sampled = shard.sampledIDs.count
            var output: WorkerHead.Output?
            let forward = try clock.measure {
                let reply = try shard.forward(features: features, microBatches: microBatches)
                output = try worker.merge(
                    replies: [reply],
                    batch: WorkerHead.Batch(
                        globalBatchSize: batch, microBatchSize: cut.microBatch, microBatches: microBatches,
                        labels: labels,
                        features: features))
            }
            guard let output else { continue }
            let backward = try clock.measure { try shard.backward(features: [features], logZ: [output.logZ]) }
            let update = try clock.measure {
                try shard.prepare(learningRate: 0.01)
                try shard.commit()
            }
            if step < 2 { continue }
            for (index, duration) in [begin, forward, backward, update].enumerated() {
                seconds[index].append(duration / .seconds(1))
            }
        }
        return (sampled, seconds.map { $0.sorted()[$0.count / 2] })
    }
}
