import Cluster
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

/// A step with other values of the head is, bit for bit, a step of a head that is configured with them.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct HeadValuesTests {
    private static func configuration(_ compute: Compute) -> HeadConfiguration {
        HeadConfiguration(
            classCount: 300, embeddingSize: 32, sliceCount: 8, seed: 9, margins: .arcFace(), sampleRate: 0.3,
            compute: compute)
    }

    /// Of steps 0, 1, …; nil: those of the configuration.
    private static let values: [HeadValues?] = [
        HeadValues(sampleRate: 1, m1: 1, m2: 0, m3: 0, scale: 16),
        HeadValues(sampleRate: 0, m1: 0.9, m2: 0.25, m3: 0.125, scale: 30, interclassFilter: 0.25),
        nil,
        HeadValues(sampleRate: 0.05, m1: 1, m2: 0.5, m3: 0, scale: 64),
    ]

    private func outcome(_ run: HeadRun, step: Int, _ values: HeadValues?) throws -> StepOutcome {
        let (features, labels) = makeBatch(run.configuration, size: 24, step: step)
        return try run.prepare(step: step, features: features, labels: labels, learningRate: 0.1, values: values)
    }

    @Test(arguments: [Compute.f32, .fma, .bf16], Spread.Way.allCases)
    func aStepHasItsOwnValues(_ compute: Compute, _ way: Spread.Way) throws {
        let configuration = Self.configuration(compute)
        let folder = try TemporaryFolder()
        let one = Spread(exchange: .features, shards: 1, workers: 1, microBatchSize: 4)
        let reference = try HeadRun(configuration, one)
        let run = try HeadRun(
            configuration, Spread(exchange: way, shards: 3, workers: 2, microBatchSize: 4, threads: 2, scattered: true))
        for (step, values) in Self.values.enumerated() {
            // A head of that configuration from the start, with the rows that there are now.
            var other = configuration
            if let values { other.values = values }
            let rows = try reference.shards[0].read(ids: (0..<Int64(configuration.classCount)).map { $0 })[0]
            let file = folder.path + "/\(step).safetensors"
            try SafeTensors(tensors: ["centers": rows]).write(to: file)
            let fresh = try HeadRun(other, one, source: .safeTensors(path: file))
            let wanted = try outcome(fresh, step: step, nil)
            let got = try outcome(reference, step: step, values)
            #expect(got.losses == wanted.losses && got.featureGradient == wanted.featureGradient, "step \(step)")
            #expect(got.ids == wanted.ids && got.rowGradients == wanted.rowGradients, "step \(step)")
            try reference.commit()
            // Any other spread gives the same.
            #expect(try outcome(run, step: step, values) == got, "step \(step)")
            try run.commit()
        }
    }

    @Test(arguments: Spread.Way.allCases) func aReplayNeedsTheValuesOfTheStep(_ way: Spread.Way) throws {
        let configuration = Self.configuration(.f32)
        let spread = Spread(exchange: way, shards: 1, workers: 1, microBatchSize: 4)
        let (run, copy) = (try HeadRun(configuration, spread), try HeadRun(configuration, spread))
        let slices = SliceSet(0..<configuration.sliceCount)
        for (step, values) in Self.values.enumerated() {
            _ = try outcome(run, step: step, values)
            let inputs = try run.shards[0].stepInputs()
            try run.commit()
            try copy.shards[0].replay(
                step: step, microBatchSize: 4, inputs: inputs, learningRate: 0.1, slices: slices, values: values)
            #expect(copy.shards[0].sliceHashes() == run.shards[0].sliceHashes(), "step \(step)")
        }
        // With others it is another step, or none.
        let last = Self.values.count
        _ = try outcome(run, step: last, Self.values[1])
        let inputs = try run.shards[0].stepInputs()
        try run.commit()
        try? copy.shards[0].replay(
            step: last, microBatchSize: 4, inputs: inputs, learningRate: 0.1, slices: slices, values: Self.values[0])
        #expect(copy.shards[0].sliceHashes() != run.shards[0].sliceHashes())
    }

    @Test func impossibleValuesAreRefused() throws {
        let configuration = Self.configuration(.f32)
        let shard = try ShardHead(configuration: configuration, slices: SliceSet(0..<8), threads: 1)
        let labels = makeBatch(configuration, size: 24).labels
        for name in HeadValues.Name.allCases {
            var values = configuration.values
            values[name] = .nan
            let error = #expect(throws: HeadError.self) {
                try shard.begin(step: 0, microBatchSize: 4, labels: labels, values: values)
            }
            #expect(error?.message.contains(name.rawValue) == true && shard.phase == .idle)
        }
    }
}
