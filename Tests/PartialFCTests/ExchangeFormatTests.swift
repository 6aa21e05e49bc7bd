import Cluster
import Determinism
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

/// A `rows` exchange whose rows and gradients are rounded on their way, and one that computes while rows come in.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ExchangeFormatTests {
    static let formats: [(rows: NumberFormat, gradients: NumberFormat)] = [
        (.bf16, .f32), (.int8, .f32), (.f32, .bf16), (.int8, .bf16),
    ]

    static func configuration(
        _ rows: NumberFormat = .f32, _ gradients: NumberFormat = .f32, compute: Compute = .f32,
        storage: NumberFormat = .f32, embeddingSize: Int = 48
    ) -> HeadConfiguration {
        HeadConfiguration(
            classCount: 3001, embeddingSize: embeddingSize, sliceCount: 8, seed: 5, scale: 32, sampleRate: 0.4,
            storage: storage, compute: compute, exchangedRows: rows,
            exchangedGradients: gradients)
    }

    private func outcomes(_ configuration: HeadConfiguration, _ spread: Spread) throws -> [StepOutcome] {
        try HeadRun.outcomes(configuration, spread, steps: 2)
    }

    @Test(arguments: formats) func isTheSameHoweverItIsSpread(rows: NumberFormat, gradients: NumberFormat) throws {
        for compute in [Compute.bf16, .f32] {
            let configuration = Self.configuration(rows, gradients, compute: compute)
            let reference = try outcomes(
                configuration, Spread(exchange: .rows, shards: 1, workers: 1, microBatchSize: 4))
            for spread in [
                Spread(exchange: .rows, shards: 3, workers: 2, microBatchSize: 4, threads: 3, scattered: true),
                Spread(exchange: .rows, shards: 2, workers: 5, microBatchSize: 4, threads: 2),
            ] {
                #expect(
                    try outcomes(configuration, spread) == reference, "\(rows), \(gradients), \(compute), \(spread)")
            }
            // It is another run than the exact one, and near it.
            let exact = try outcomes(
                Self.configuration(compute: compute), Spread(exchange: .rows, shards: 1, workers: 1, microBatchSize: 4))
            let error = relativeError(
                reference[0].rowGradients.map(Double.init), exact[0].rowGradients.map(Double.init))
            #expect(error > 1e-4 && error < 2e-2, "\(rows), \(gradients), \(compute): ∂w differs by \(error)")
        }
    }

    /// bf16 rows are what the table has: sending them changes nothing, sending them as int8 does.
    @Test func rowsThatAreKeptInTheFormatOfTheExchangeStayExact() throws {
        let spread = Spread(exchange: .rows, shards: 2, workers: 2, microBatchSize: 4)
        let features = Spread(exchange: .features, shards: 1, workers: 1, microBatchSize: 4)
        let exact = try outcomes(Self.configuration(.bf16, storage: .bf16), features)
        #expect(try outcomes(Self.configuration(.bf16, storage: .bf16), spread) == exact)
        #expect(try outcomes(Self.configuration(.int8, storage: .bf16), spread) != exact)
    }

    @Test func roundedGradientsAreRightInTheMean() throws {
        let exact = Self.configuration()
        let batch = makeBatch(exact, size: 24)
        let spread = Spread(exchange: .rows, shards: 1, workers: 2, microBatchSize: 4)
        /// Row gradients of the first step, as a step of this number.
        func gradients(_ configuration: HeadConfiguration, step: Int) throws -> [Double] {
            // All classes, so that every step has the same.
            var configuration = configuration
            (configuration.sampleRate, configuration.classCount) = (1, 100)
            let run = try HeadRun(configuration, spread)
            return try run.prepare(
                step: step, features: batch.features, labels: batch.labels.map { $0 % 100 }, learningRate: 0.1
            ).rowGradients.map(Double.init)
        }
        let expected = try gradients(exact, step: 0)
        let count = 64
        var mean = expected.map { _ in 0.0 }
        var single = 0.0
        for step in 0..<count {
            let rounded = try gradients(Self.configuration(.f32, .bf16), step: step)
            single = max(single, relativeError(rounded, expected))
            for index in mean.indices { mean[index] += rounded[index] / Double(count) }
        }
        #expect(single > 1e-3, "\(single)")
        // The errors are independent: their mean is an eighth of one.
        #expect(relativeError(mean, expected) < single / 4, "\(relativeError(mean, expected)) of \(single)")
    }

    /// The part of a rank that computes everything.
    private func wholeBatch(_ features: Tensor, _ labels: [Int64]) -> WorkerHead.Batch {
        WorkerHead.Batch(
            globalBatchSize: 24, microBatchSize: 4, microBatches: 0..<6, labels: labels, features: features, step: 0)
    }

    // MARK: While rows come in

    @Test(arguments: [(NumberFormat.f32, Compute.f32), (.int8, .f32), (.int8, .bf16), (.bf16, .bf16)])
    func theOrderInWhichRowsComeDoesNotMatter(rows: NumberFormat, compute: Compute) throws {
        let configuration = Self.configuration(rows, compute: compute)
        let (features, labels) = makeBatch(configuration, size: 24)
        let owned = [SliceSet(0..<3), SliceSet(3..<4), SliceSet(4..<8)]
        let shards = try owned.map { try ShardHead(configuration: configuration, slices: $0, threads: 1) }
        for shard in shards { try shard.begin(step: 0, microBatchSize: 4, labels: labels) }
        let pulled = try shards.map { try $0.rowsReply() }
        let worker = try WorkerHead(configuration: configuration, threads: 2)
        let batch = wholeBatch(features, labels)
        func contents(_ output: WorkerHead.Output) -> [[Float]] {
            [output.featureGradient.array(Float.self)] + output.backward.map { $0[1].array(Float.self) }
        }
        let whole = try worker.softmax(pulled: pulled, slices: owned, batch: batch)
        for seed in 0..<8 as Range<UInt64> {
            var random = KeyedRandom(seed: seed, purpose: .test)
            let exchange = try worker.beginRows(batch)
            var available = [0, 0, 0]
            for _ in 0..<12 {
                let shard = Int(random.below(3))
                available[shard] = min(
                    pulled[shard][2].byteCount, available[shard] + Int(random.below(UInt64(pulled[shard][2].byteCount)))
                )
                try exchange.take(
                    pulled[shard], of: shard, slices: owned[shard], available: available[shard])
            }
            let output = try worker.softmax(pulled: pulled, slices: owned, batch: batch, begun: exchange)
            #expect(output.losses.array(Double.self) == whole.losses.array(Double.self), "seed \(seed)")
            #expect(contents(output) == contents(whole), "seed \(seed)")
        }
    }

    /// Only bytes that are there are looked at, and a reply that came again, in other memory, is computed with anew.
    @Test func whatHasNotComeIsNotRead() throws {
        let configuration = Self.configuration()
        let (features, labels) = makeBatch(configuration, size: 24)
        let shard = try ShardHead(configuration: configuration, slices: SliceSet(0..<8), threads: 1)
        try shard.begin(step: 0, microBatchSize: 4, labels: labels)
        let pulled = try shard.rowsReply()
        let worker = try WorkerHead(configuration: configuration, threads: 1)
        let batch = wholeBatch(features, labels)
        let whole = try worker.softmax(pulled: [pulled], slices: [SliceSet(0..<8)], batch: batch)
        // Half of the rows, and rubbish where the others will be.
        var values = pulled[2].array(Float.self)
        let half = values.count / 2
        for index in half..<values.count { values[index] = .nan }
        let arriving = [pulled[0], pulled[1], Tensor(values, shape: pulled[2].shape)]
        let exchange = try worker.beginRows(batch)
        try exchange.take(arriving, of: 0, slices: SliceSet(0..<8), available: half * 4)
        let output = try worker.softmax(pulled: [pulled], slices: [SliceSet(0..<8)], batch: batch, begun: exchange)
        #expect(output.losses.array(Double.self) == whole.losses.array(Double.self))
        PayloadTests.refused(.notFinite, "is not finite") {
            _ = try worker.softmax(pulled: [arriving], slices: [SliceSet(0..<8)], batch: batch, begun: exchange)
        }
        PayloadTests.refused(.malformed, "another shard") {
            let exchange = try worker.beginRows(batch)
            try exchange.take(pulled, of: 0, slices: SliceSet(0..<8))
            try exchange.take(pulled, of: 1, slices: SliceSet(0..<8))
        }
    }

    // MARK: What peers send wrong

    @Test func otherFormatsAreRefused() throws {
        let configuration = Self.configuration(.int8, .bf16)
        let (features, labels) = makeBatch(configuration, size: 24)
        let shard = try ShardHead(configuration: configuration, slices: SliceSet(0..<8), threads: 1)
        try shard.begin(step: 0, microBatchSize: 4, labels: labels)
        let pulled = try shard.rowsReply()
        let worker = try WorkerHead(configuration: configuration, threads: 1)
        let batch = wholeBatch(features, labels)
        func softmax(_ rows: Tensor) throws -> WorkerHead.Output {
            try worker.softmax(pulled: [[pulled[0], pulled[1], rows]], slices: [SliceSet(0..<8)], batch: batch)
        }
        let count = pulled[1].count
        PayloadTests.refused(.malformed, "expected u8") {
            _ = try softmax(Tensor(zeros: Float.self, shape: [count, 48]))
        }
        // The scale of row 7, the last four bytes of it.
        var bytes = pulled[2].array(UInt8.self)
        for index in 8 * 52 - 4..<8 * 52 { bytes[index] = 0xff }
        PayloadTests.refused(.notFinite, "class \(pulled[1].array(Int64.self)[7]) ") {
            _ = try softmax(Tensor(bytes, shape: pulled[2].shape))
        }
        let pushed = try softmax(pulled[2]).backward[0]
        PayloadTests.refused(.malformed, "expected bf16") {
            try shard.backward(pushed: [[pushed[0], Tensor(zeros: Float.self, shape: pushed[1].shape)]])
        }
        var gradients = pushed[1].array(UInt16.self)
        gradients[5] = 0x7fc0
        PayloadTests.refused(.notFinite, "gradient") {
            try shard.backward(pushed: [[pushed[0], Tensor(gradients, shape: pushed[1].shape)]])
        }
        try shard.backward(pushed: [pushed])
    }

    @Test func formatsThatAreNoneAreRefused() {
        for (configuration, words) in [
            (Self.configuration(.f32, storage: .bf16), "cannot be sent as f32"),
            (Self.configuration(.none), "sent as none"),
            (Self.configuration(.f32, .int8), "use f32 or bf16"), (Self.configuration(.f32, .none), "use f32 or bf16"),
        ] {
            PayloadTests.refused(.configuration, words) { try configuration.validate() }
        }
    }
}
