import Cluster
import Model
import Tensors
import TestSupport
import Testing
import Training

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct DeterminismTests {
    static let microBatches = 7
    static let size = 4

    private static func images(_ count: Int) -> Tensor { randomTensor([count, 3, 8, 8], seed: 3) }
    private static func upstream(_ count: Int) -> Tensor { randomTensor([count, 8], seed: 4) }

    /// Embeddings and the finished gradient when each of `ranges` is computed by a rank of its own.
    private static func step(_ ranges: [Range<Int>], threads: Int, memoryBudget: Int = 1 << 30) throws -> [UInt32] {
        let count = ranges.last!.upperBound
        let (images, upstream) = (images(count * size), upstream(count * size))
        var pushed: [[Tensor]] = []
        var result: [UInt32] = []
        for range in ranges {
            let worker = try makeWorker(smallConfiguration(), threads: threads, memoryBudget: memoryBudget)
            let samples = range.lowerBound * size..<range.upperBound * size
            result += bits(try worker.forward(images: images.rows(samples)))
            let (nodes, gradients) = try worker.backward(upstream.rows(samples), microBatches: range, of: count)
            pushed.append([nodes, gradients])
        }
        let layout = try ParameterLayout(smallConfiguration())
        let shard = try DenseShard(layout: layout, slices: SliceSet(0..<4), of: 4, seed: 1, microBatchCount: count)
        let norms = try shard.dense(pushed: pushed, step: 0)[0].array(Double.self)
        result += bits(try shard.update(step: 0, totalSquaredNorm: norms.reduce(0, +), learningRate: 0.1)[0])
        return result
    }

    @Test(arguments: [
        [0..<4, 4..<7], [0..<3, 3..<7], [0..<1, 1..<2, 2..<7], [0..<7, 7..<7], [0..<0, 0..<5, 5..<7],
    ])
    func ranksDoNotChangeABit(ranges: [Range<Int>]) throws {
        #expect(try Self.step(ranges, threads: 1) == Self.step([0..<Self.microBatches], threads: 1))
    }

    @Test(arguments: [[0..<4], [0..<2, 2..<4], [0..<3, 3..<4]])
    func fourMicroBatchesInAnyCut(ranges: [Range<Int>]) throws {
        #expect(try Self.step(ranges, threads: 2) == Self.step([0..<4], threads: 1))
    }

    @Test(arguments: [2, 3, 5]) func threadsDoNotChangeABit(threads: Int) throws {
        #expect(
            try Self.step([0..<Self.microBatches], threads: threads) == Self.step([0..<Self.microBatches], threads: 1))
    }

    @Test(arguments: [1, 2]) func activationsComputedAgainAreTheSame(threads: Int) throws {
        let reference = try Self.step([0..<Self.microBatches], threads: 1)
        let context = try makeWorker(smallConfiguration()).contextBytes
        for budget in [0, 3 * context, 4 * context] {
            #expect(try Self.step([0..<Self.microBatches], threads: threads, memoryBudget: budget) == reference)
        }
    }

    @Test func embedTakesAnyCountAndEitherOrder() throws {
        let worker = try makeWorker(smallConfiguration(), threads: 2)
        let images = Self.images(11)
        let all = try worker.embed(images: images)
        #expect(all.shape == [11, 8])
        #expect(bits(try worker.embed(images: images.rows(0..<3))) == bits(all.rows(0..<3)))
        #expect(try worker.embed(images: images.rows(0..<0)).shape == [0, 8])
        var transposed = [Float](repeating: 0, count: 11 * 3 * 64)
        let values = images.array(Float.self)
        for n in 0..<11 {
            for c in 0..<3 { for p in 0..<64 { transposed[(n * 64 + p) * 3 + c] = values[(n * 3 + c) * 64 + p] } }
        }
        #expect(bits(try worker.embed(images: Tensor(transposed, shape: [11, 8, 8, 3]), order: .nhwc)) == bits(all))
    }

    @Test func aNewVersionOfTheParametersCounts() throws {
        let worker = try makeWorker(smallConfiguration())
        let images = Self.images(4)
        let first = bits(try worker.forward(images: images))
        try worker.load(randomParameters(worker.layout, seed: 77))
        #expect(bits(try worker.forward(images: images)) != first)
        try worker.load(randomParameters(worker.layout, seed: 5))
        #expect(bits(try worker.forward(images: images)) == first)
    }
}
