import Cluster
import Determinism
import Foundation
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

/// The head in the run of a job: samples without class, margins and weights of each sample.
@Suite(.tags(.fast), .timeLimit(.minutes(20)), .serialized) struct JobHeadTests {
    static let computes = Compute.allCases
    static let (size, microBatch) = (24, 4)

    static func configuration(_ compute: Compute = .f32, storage: NumberFormat = .f32) -> HeadConfiguration {
        HeadConfiguration(
            classCount: 700, embeddingSize: 48, sliceCount: 8, seed: 3, scale: 20, margins: .arcFace(),
            sampleRate: 0.3, storage: storage, rounding: .nearest, compute: compute, servesJob: true)
    }

    /// A batch as a job sends it.
    struct Batch {
        var features: [Float]
        var labels: [Int64]
        var margins: [Float]
        var weights: [Float]

        /// Every fifth sample has no class, every seventh weighs nothing.
        init(step: Int) {
            let (features, labels) = makeBatch(JobHeadTests.configuration(), size: JobHeadTests.size, step: step)
            var random = KeyedRandom(seed: 2, purpose: .test, UInt64(step))
            self.features = features.array(Float.self)
            self.labels = labels.enumerated().map { $0 % 5 == 3 ? -1 : $1 }
            margins = labels.indices.flatMap { _ in
                [Float(0.8 + 0.5 * random.unit()), Float(random.unit() - 0.4), Float(0.4 * random.unit())]
            }
            weights = labels.indices.map { $0 % 7 == 2 ? 0 : Float(3 * random.unit()) }
        }

        var perSample: [HeadMargins] {
            labels.indices.map { i in
                HeadMargins(
                    m1: Double(margins[3 * i]), m2: Double(margins[3 * i + 1]), m3: Double(margins[3 * i + 2]))
            }
        }

        /// The parts of two ranks, of 2 and 4 micro-batches.
        static var ranks: [Range<Int>] { [0..<2, 2..<6] }

        func parts(_ values: [Float], width: Int) -> [Tensor] {
            Self.ranks.map { part in
                let samples = part.lowerBound * JobHeadTests.microBatch..<part.upperBound * JobHeadTests.microBatch
                return Tensor(
                    Array(values[samples.lowerBound * width..<samples.upperBound * width]),
                    shape: width == 1 ? [samples.count] : [samples.count, width])
            }
        }
    }

    /// Shards of a run, and what they have been told.
    struct Shards {
        let heads: [ShardHead]
        var size: Int { heads[0].configuration.embeddingSize }

        init(_ configuration: HeadConfiguration, count: Int) throws {
            heads = try (0..<count).map { shard in
                try ShardHead(
                    configuration: configuration,
                    slices: SliceSet(numbers: Array(stride(from: shard, to: configuration.sliceCount, by: count))),
                    threads: 2)
            }
        }

        var ids: [Int64] { heads.flatMap(\.sampledIDs).sorted() }
        var hashes: [Int: String] { heads.reduce(into: [:]) { $0.merge($1.sliceHashes()) { a, _ in a } } }

        /// Numbers of every sampled row, by class.
        func byClass(_ values: (ShardHead) throws -> Tensor) throws -> [Float] {
            var rows: [Int64: [Float]] = [:]
            for head in heads {
                let all = try values(head).array(Float.self)
                for (index, id) in head.sampledIDs.enumerated() {
                    rows[id] = Array(all[index * size..<(index + 1) * size])
                }
            }
            return rows.sorted { $0.key < $1.key }.flatMap(\.value)
        }

        func begin(_ step: Int, _ labels: [Int64]) throws {
            for head in heads { try head.begin(step: step, microBatchSize: JobHeadTests.microBatch, labels: labels) }
        }

        /// A step with given normalizers.
        func train(
            _ step: Int, _ batch: Batch, logZ: [Double], margins: Bool = true, weights: Bool = true
        ) throws {
            try begin(step, batch.labels)
            let x = batch.parts(batch.features, width: size)
            let m = margins ? batch.parts(batch.margins, width: 3) : []
            for head in heads {
                for (rank, range) in Batch.ranks.enumerated() {
                    _ = try head.forward(
                        features: x[rank], microBatches: range, margins: m.isEmpty ? nil : m[rank])
                }
                try head.backward(
                    features: x, logZ: [Tensor(Array(logZ[0..<8])), Tensor(Array(logZ[8...]))], margins: m,
                    weights: weights ? batch.parts(batch.weights, width: 1) : [], learningRate: 0.1)
                try head.prepare(learningRate: 0.1)
            }
        }

        func commit() throws { for head in heads { try head.commit() } }
    }

    static func reference(_ shards: Shards, _ batch: Batch) throws -> Reference {
        let rows = try shards.byClass { try $0.read(ids: $0.sampledIDs)[0] }
        return Reference(
            shards.heads[0].configuration, features: batch.features, labels: batch.labels, ids: shards.ids, rows: rows,
            margins: batch.perSample, weights: batch.weights)
    }

    @Test(arguments: computes, [NumberFormat.f32, .bf16]) func matchesTheFormulas(
        compute: Compute, storage: NumberFormat
    ) throws {
        let limit = compute == .bf16 ? 1e-2 : 1e-5
        var hashes: [[Int: String]] = []
        var worst = (target: 0.0, logZ: 0.0, rows: 0.0)
        for count in 1...3 {
            let shards = try Shards(Self.configuration(compute, storage: storage), count: count)
            for step in 0..<3 {
                let batch = Batch(step: step)
                try shards.begin(step, batch.labels)
                let expected = try Self.reference(shards, batch)
                // The partial softmax of all shards and the targets give log Z.
                var found = [Double](repeating: 0, count: Self.size)
                var targets: [Int: Double] = [:]
                let parts = (batch.parts(batch.features, width: 48), batch.parts(batch.margins, width: 3))
                for head in shards.heads {
                    for (rank, range) in Batch.ranks.enumerated() {
                        let reply = try head.forward(
                            features: parts.0[rank], microBatches: range, margins: parts.1[rank])
                        let (first, n) = (range.lowerBound * Self.microBatch, range.count * Self.microBatch)
                        let (maxima, sums) = (reply[1].array(Float.self), reply[2].array(Float.self))
                        for (index, sum) in sums.enumerated() where sum > 0 {
                            found[first + index % n] += Double(sum) * exp(Double(maxima[index]))
                        }
                        for (sample, logit) in zip(reply[4].array(Int32.self), reply[5].array(Float.self)) {
                            #expect(targets[first + Int(sample)] == nil)
                            targets[first + Int(sample)] = Double(logit)
                            found[first + Int(sample)] += exp(Double(logit))
                        }
                    }
                    head.rollback()
                }
                #expect(targets.keys.sorted() == batch.labels.indices.filter { batch.labels[$0] >= 0 })
                let logits = targets.sorted { $0.key < $1.key }.map(\.value)
                worst.target = max(worst.target, relativeError(logits, expected.targetLogits))
                worst.logZ = max(worst.logZ, relativeError(found.map { log($0) }, expected.logZ))
                // Shards are told the reference's normalizers: their gradients are compared alone.
                var logZ = expected.logZ
                for sample in logZ.indices where batch.labels[sample] < 0 { logZ[sample] = .nan }
                try shards.train(step, batch, logZ: logZ)
                worst.rows = max(
                    worst.rows, relativeError(try shards.byClass { try $0.rowGradients() }, expected.rowGradients))
                try shards.commit()
            }
            hashes.append(shards.hashes)
        }
        #expect(hashes[1] == hashes[0] && hashes[2] == hashes[0], "the bits depend on the number of shards")
        print("largest errors of jobs, \(compute), rows \(storage): \(worst)")
        #expect(worst.target < limit && worst.logZ < limit && worst.rows < limit, "\(worst)")
    }

    /// The formulas that the head is held against are the gradient of Σ weight · loss / B: by differences of it.
    @Test func theFormulasAreTheGradientOfTheWeightedLoss() throws {
        let (shards, batch) = (try Shards(Self.configuration(), count: 1), Batch(step: 0))
        try shards.begin(0, batch.labels)
        let rows = try shards.byClass { try $0.read(ids: $0.sampledIDs)[0] }
        func reference(_ rows: [Float]) -> Reference {
            Reference(
                Self.configuration(), features: batch.features, labels: batch.labels, ids: shards.ids, rows: rows,
                margins: batch.perSample, weights: batch.weights)
        }
        let expected = reference(rows).rowGradients
        // A coordinate of every third row: rows of targets and of others.
        let places = stride(from: 0, to: shards.ids.count, by: 3).map { $0 * 48 + $0 % 48 }
        let found = places.map { place in
            var (up, down) = (rows, rows)
            up[place] += 1e-5
            down[place] -= 1e-5
            return (reference(up).loss - reference(down).loss) / (Double(up[place]) - Double(down[place]))
        }
        #expect(relativeError(found, places.map { expected[$0] }) < 1e-5)
    }

    /// Weights of 1 and the configuration's own margins, said of every sample, change no bit.
    @Test(arguments: computes) func theUsualTermsGiveTheSameBits(compute: Compute) throws {
        var batch = Batch(step: 0)
        batch.labels = makeBatch(Self.configuration(), size: Self.size).labels
        batch.weights = batch.weights.map { _ in 1 }
        batch.margins = batch.labels.flatMap { _ in [1, 0.5, 0] as [Float] }
        let logZ = batch.labels.indices.map { 19 + Double($0) / 10 }
        var hashes: [[Int: String]] = []
        for (margins, weights, servesJob) in [(false, false, false), (true, false, true), (true, true, true)] {
            var configuration = Self.configuration(compute)
            configuration.servesJob = servesJob
            let shards = try Shards(configuration, count: 2)
            try shards.train(0, batch, logZ: logZ, margins: margins, weights: weights)
            try shards.commit()
            hashes.append(shards.hashes)
        }
        #expect(hashes[1] == hashes[0] && hashes[2] == hashes[0])
    }

    /// What has no class or no weight gives nothing, whatever its features are.
    @Test(arguments: computes) func samplesWithoutPartGiveNothing(compute: Compute) throws {
        var hashes: [[Int: String]] = []
        for other in [false, true] {
            var batch = Batch(step: 0)
            for sample in 0..<Self.size where other && (batch.labels[sample] < 0 || batch.weights[sample] == 0) {
                for place in sample * 48..<(sample + 1) * 48 { batch.features[place] = Float(place % 11) - 4.5 }
                if batch.labels[sample] < 0 { batch.margins[3 * sample] = -.infinity }
            }
            let shards = try Shards(Self.configuration(compute), count: 2)
            try shards.train(0, batch, logZ: [Double](repeating: 20, count: Self.size))
            hashes.append(shards.hashes)
        }
        #expect(hashes[0] == hashes[1])
        // Nothing at all, with and without negatives: rows decay, and have no gradient.
        for rate in [0, 0.3] {
            var configuration = Self.configuration(compute)
            configuration.sampleRate = rate
            var batch = Batch(step: 0)
            batch.labels = batch.labels.map { _ in -1 }
            let shards = try Shards(configuration, count: 2)
            try shards.train(0, batch, logZ: [Double](repeating: -.infinity, count: Self.size))
            #expect(shards.ids.count == Int(rate * 700))
            #expect(try shards.byClass { try $0.rowGradients() }.allSatisfy { $0 == 0 })
            try shards.commit()
        }
    }

    /// What was logged of a step gives its bits again, slice by slice.
    @Test(arguments: computes) func areDoneAgainFromTheLog(compute: Compute) throws {
        let shards = try Shards(Self.configuration(compute, storage: .bf16), count: 2)
        let fresh = try ShardHead(configuration: shards.heads[0].configuration, slices: SliceSet(0..<8), threads: 1)
        for step in 0..<3 {
            // With both, with either.
            try shards.train(
                step, Batch(step: step), logZ: [Double](repeating: 20, count: Self.size), margins: step != 1,
                weights: step != 2)
            let inputs = try shards.heads[0].stepInputs()
            #expect(inputs.kind == .jobFeatures && inputs.tensors.count == 5)
            let record = LogRecord(
                header: .init(term: 1, step: step, attempt: 0, kind: inputs.kind),
                tensors: inputs.tensors + [Tensor(zeros: Float.self, shape: [0])])
            for slice in 0..<8 {
                try fresh.replay(
                    step: step, microBatchSize: Self.microBatch,
                    inputs: try StepInputs(record).restricted(to: [slice]), learningRate: 0.1, slices: [slice])
            }
            try shards.commit()
            #expect(fresh.sliceHashes() == shards.hashes, "step \(step)")
            var short = record
            short.tensors.removeLast(2)
            #expect(throws: HeadError.self) { try StepInputs(short) }
        }
    }

    @Test func whatIsImpossibleIsRefusedWithTheSample() throws {
        let shards = try Shards(Self.configuration(), count: 1)
        let before = shards.hashes
        func refused(_ words: String, _ change: (inout Batch) -> Void) {
            var batch = Batch(step: 0)
            change(&batch)
            #expect {
                try shards.train(0, batch, logZ: [Double](repeating: 20, count: Self.size))
            } throws: { error in
                let matches = error is HeadError && "\(error)".contains(words)
                if !matches { print("expected \(words), got \(error)") }
                return matches
            }
            for head in shards.heads { head.rollback() }
        }
        refused("margin m1 is 0.0; it must be in 0.01...100, for sample 9 of the batch") { $0.margins[27] = 0 }
        refused("margin m2 is nan; it must be in -100...100 radians, for sample 0") { $0.margins[1] = .nan }
        refused("margin m3 is 101.0; it must be in -100...100, for sample 22") { $0.margins[68] = 101 }
        refused("the weight of sample 11 of the batch is -1.0; it must be a number from 0 up") { $0.weights[11] = -1 }
        refused("the weight of sample 1 of the batch is inf") { $0.weights[1] = .infinity }
        refused("the label of sample 5 of the batch is -2; it must be in 0..<700, or -1 for none") { $0.labels[5] = -2 }
        refused("the label of sample 5 of the batch is 700") { $0.labels[5] = 700 }
        refused("is not finite") { $0.weights[0] = 3e38 }
        #expect(shards.hashes == before)
        var configuration = Self.configuration()
        configuration.servesJob = false
        let ordinary = try Shards(configuration, count: 1)
        #expect(throws: HeadError.self) { try ordinary.begin(0, Batch(step: 0).labels) }
        // Tensors of other shapes.
        try shards.begin(0, Batch(step: 0).labels)
        let x = Tensor(zeros: Float.self, shape: [8, 48])
        for margins in [Tensor(zeros: Float.self, shape: [8, 2]), Tensor(zeros: Double.self, shape: [8, 3])] {
            #expect(throws: HeadError.self) {
                try shards.heads[0].forward(features: x, microBatches: 0..<2, margins: margins)
            }
        }
        let all = Tensor(zeros: Float.self, shape: [Self.size, 48])
        let logZ = Tensor([Double](repeating: 20, count: Self.size))
        for weights in [logZ, Tensor([1, 1] as [Float]), Tensor(zeros: Float.self, shape: [Self.size, 1])] {
            #expect(throws: HeadError.self) {
                try shards.heads[0].backward(features: [all], logZ: [logZ], weights: [weights], learningRate: 0.1)
            }
        }
    }
}
