import ArgumentParser
import Determinism
import Foundation
import ParameterStore
import PartialFC
import ProcessSupport

/// What it costs to choose the classes of a step, on one thread.
struct SamplingCost: Codable {
    var classes: Int
    var sampled: Int
    var milliseconds: Double

    /// - Parameter sampled: S, the same for every number of classes.
    static func measure(classes: Int, sampled: Int, batch: Int, slices: Int, repetitions: Int) throws -> SamplingCost {
        let layout = try SliceLayout(classCount: classes, sliceCount: slices)
        let sampler = ClassSampler(layout: layout, seed: 1, sampleRate: Double(sampled) / Double(classes))
        var random = KeyedRandom(seed: 1, purpose: .test)
        let positives = Set((0..<batch).map { _ in Int64(random.below(UInt64(classes))) }).sorted()
        var step = 0
        let seconds = Experiments.medianSeconds(of: repetitions) {
            step += 1
            for slice in 0..<slices {
                _ = sampler.sample(step: step, slice: slice, positives: positives)
            }
        }
        return SamplingCost(classes: classes, sampled: sampled, milliseconds: seconds * 1000)
    }
}

/// `experiments sampling`.
struct SamplingCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sampling",
        abstract:
            "Time the choice of a step's classes for growing numbers of classes, of which the same number is chosen.")

    @Option(help: "S: classes that are chosen.") var sampled = 100_000
    @Option(help: "C.") var classes = [100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000]
    @Option(help: "B.") var batch = 128
    @Option(help: "Slices.") var slices = 16
    @Option(help: "Steps of which the median is taken.") var repetitions = 9

    func run() throws {
        try Experiments.sayJSON(
            classes.map {
                try SamplingCost.measure(
                    classes: $0, sampled: sampled, batch: batch, slices: slices, repetitions: repetitions)
            })
    }
}
