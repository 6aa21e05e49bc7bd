import Determinism
import Model
import Tensors
import TestSupport
import Testing
import Training

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct DropoutTests {
    private let rate = 0.4

    /// A linear layer behind dropout, whose results show which numbers were dropped.
    private func visible(_ dropout: Dropout) throws -> BackboneWorker {
        var net = try GraphBuilder(name: "visible", input: [1, 5, 6])
        var x = try net.add("flat", .reshape([30]), .input)
        x = try net.add("drop", .dropout, x)
        x = try net.add("fc", .linear(weight: net.parameter("w", [30, 30]), bias: nil), x)
        let layout = ParameterLayout(try net.finish(x))
        let worker = try BackboneWorker(
            layout: layout, microBatchSize: 4, blocks: ParallelBlocks(threads: 2), dropout: dropout)
        let identity = Tensor(zeros: Float.self, shape: [900])
        for i in 0..<30 { identity.mutable(Float.self)[31 * i] = 1 }
        try worker.load(identity)
        return worker
    }

    private func ones(_ samples: Int) -> Tensor {
        Tensor([Float](repeating: 1, count: samples * 30), shape: [samples, 1, 5, 6])
    }

    /// The masks written out: a number is dropped where the next number of (seed, step, position, layer) is below p.
    @Test func masksAreTheirDefinition() throws {
        let worker = try visible(Dropout(rate: rate, seed: 7))
        let found = try worker.forward(images: ones(8), at: BatchPlace(step: 3, position: 12)).array(Float.self)
        var expected: [Float] = []
        for position in 12..<20 as Range<UInt64> {
            var random = KeyedRandom(seed: 7, purpose: .dropout, 3, position, 0)
            for _ in 0..<30 { expected.append(Double(random.next()) * 0x1p-64 < rate ? 0 : Float(1 / (1 - rate))) }
        }
        #expect(found == expected)
        let gradient = try worker.backward(ones(8).reshaped([8, 30]), microBatches: 0..<2, of: 2).gradients
        // dW[o, i] is the sum over samples of what dropout let through.
        for i in 0..<30 {
            let sum = (0..<8).reduce(Float(0)) { $0 + expected[$1 * 30 + i] }
            #expect(abs(gradient.array(Float.self)[i] - sum) < 1e-5)
        }
    }

    @Test func aboutAsManyDropAsAreAsked() throws {
        let worker = try visible(Dropout(rate: rate, seed: 1))
        let values = try worker.forward(images: ones(4000), at: BatchPlace(step: 0, position: 0)).array(Float.self)
        let dropped = Double(values.count { $0 == 0 }) / Double(values.count)
        // Six standard deviations.
        #expect(abs(dropped - rate) < 6 * (rate * (1 - rate) / Double(values.count)).squareRoot())
        #expect(abs(Double(values.reduce(0, +)) / Double(values.count) - 1) < 0.02)
    }

    /// Another step, position, seed: other masks. In use nothing drops, and neither does at a rate of 0.
    @Test func masksDependOnTheirKeyAlone() throws {
        let worker = try visible(Dropout(rate: rate, seed: 7))
        func masks(_ worker: BackboneWorker, _ step: Int, _ position: Int) throws -> [Float] {
            try worker.forward(images: ones(8), at: BatchPlace(step: step, position: position)).array(Float.self)
        }
        let first = try masks(worker, 3, 12)
        #expect(try masks(worker, 3, 12) == first && masks(worker, 4, 12) != first)
        #expect(try masks(worker, 3, 16).prefix(120) == first.suffix(120))
        #expect(try masks(visible(Dropout(rate: rate, seed: 8)), 3, 12) != first)
        #expect(try worker.embed(images: ones(8)).array(Float.self) == ones(8).array(Float.self))
        #expect(try masks(visible(.none), 3, 12) == ones(8).array(Float.self))
    }

    /// The derivative along random directions with the masks held, against the gradient: through dropout to the first layer.
    @Test func gradientsAgreeWithFiniteDifferences() throws {
        let worker = try makeWorker(smallConfiguration(), microBatchSize: 8, dropout: Dropout(rate: 0.3, seed: 2))
        let layout = worker.layout
        let images = randomTensor([8, 3, 8, 8], seed: 1)
        let upstream = randomTensor([8, 8], seed: 2)
        let parameters = randomParameters(layout, seed: 5)
        for segment in layout.segments where segment.name.hasSuffix("prelu.weight") {
            for i in segment.range { parameters.mutable(Float.self)[i] += 0.7 }
        }
        let place = BatchPlace(step: 5, position: 16)
        try worker.load(parameters)
        _ = try worker.forward(images: images, at: place)
        let gradient = try worker.backward(upstream, microBatches: 0..<1, of: 1).gradients.array(Float.self)
        for name in ["fc.weight", "fc.bias", "bn2.weight", "layer2.0.conv2.weight"] {
            let segment = try #require(layout[name])
            let direction = randomTensor([segment.range.count], seed: 9).array(Float.self)
            let length = direction.map { Double($0) * Double($0) }.reduce(0, +).squareRoot()
            let step = 8e-3 / length
            func loss(_ signedStep: Double) throws -> Double {
                let moved = Tensor(parameters.array(Float.self))
                for (i, element) in segment.range.enumerated() {
                    moved.mutable(Float.self)[element] += Float(signedStep) * direction[i]
                }
                try worker.load(moved)
                return dot(try worker.forward(images: images, at: place), upstream)
            }
            let difference = (try loss(step) - loss(-step)) / (2 * step)
            var (exact, norm) = (0.0, 0.0)
            for (i, element) in segment.range.enumerated() {
                exact += Double(gradient[element]) * Double(direction[i])
                norm += Double(gradient[element]) * Double(gradient[element])
            }
            let scale = max(abs(exact), norm.squareRoot() * length / Double(direction.count).squareRoot(), 0.2)
            #expect(abs(difference - exact) < 0.06 * scale, "\(name): \(difference), gradient \(exact)")
        }
    }

    /// However micro-batches are shared out, on ranks and threads, and whether activations are kept: the same bits.
    @Test(arguments: [[0..<5], [0..<2, 2..<5], [0..<1, 1..<4, 4..<5]], [0, 1 << 30])
    func sharesDoNotChangeABit(ranges: [Range<Int>], memoryBudget: Int) throws {
        let (images, upstream) = (randomTensor([20, 3, 8, 8], seed: 3), randomTensor([20, 8], seed: 4))
        let dropout = Dropout(rate: 0.5, seed: 11)
        func run(_ ranges: [Range<Int>], threads: Int, memoryBudget: Int) throws -> ([UInt32], [UInt32]) {
            var (embeddings, leaves) = ([UInt32](), [UInt32]())
            for range in ranges {
                let samples = range.lowerBound * 4..<range.upperBound * 4
                for leaf in range {
                    // Each micro-batch as a tree of its own, to compare leaf by leaf.
                    let worker = try makeWorker(smallConfiguration(), dropout: dropout)
                    let own = leaf * 4..<(leaf + 1) * 4
                    _ = try worker.forward(
                        images: images.rows(own), at: BatchPlace(step: 1, position: own.lowerBound))
                    leaves += bits(try worker.backward(upstream.rows(own), microBatches: 0..<1, of: 1).gradients)
                }
                let worker = try makeWorker(
                    smallConfiguration(), threads: threads, memoryBudget: memoryBudget, dropout: dropout)
                embeddings += bits(
                    try worker.forward(
                        images: images.rows(samples), at: BatchPlace(step: 1, position: samples.lowerBound)))
                let sums = try worker.backward(upstream.rows(samples), microBatches: range, of: 5)
                if ranges.count == 1 { leaves += bits(sums.gradients) }
            }
            return (embeddings, leaves)
        }
        let alone = try run([0..<5], threads: 1, memoryBudget: 1 << 30)
        let shared = try run(ranges, threads: 2, memoryBudget: memoryBudget)
        #expect(shared.0 == alone.0)
        #expect(shared.1 == Array(alone.1.prefix(shared.1.count)))
    }
}
