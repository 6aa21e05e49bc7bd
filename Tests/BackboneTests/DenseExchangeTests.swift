import Cluster
import Determinism
import Model
import ParameterStore
import Tensors
import TestSupport
import Testing
import Training

/// Gradients of the backbone that are sent and logged as bf16.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct DenseExchangeTests {
    private static let microBatches = 7
    private static let size = 4
    private let layout: ParameterLayout

    init() throws { layout = try ParameterLayout(smallConfiguration()) }

    private func shard(_ slices: SliceSet) throws -> DenseShard {
        try DenseShard(
            layout: layout, slices: slices, of: 4, seed: 1, microBatchCount: Self.microBatches,
            exchangedGradients: .bf16)
    }

    /// What each rank pushes of all parameters: nodes, and gradients bf16 [K, P].
    private func pushed(_ ranges: [Range<Int>], step: Int = 3) throws -> [[Tensor]] {
        let images = randomTensor([Self.microBatches * Self.size, 3, 8, 8], seed: 3)
        let upstream = randomTensor([Self.microBatches * Self.size, 8], seed: 4)
        return try ranges.map { range in
            let worker = try makeWorker(smallConfiguration(), threads: 2)
            let samples = range.lowerBound * Self.size..<range.upperBound * Self.size
            _ = try worker.forward(images: images.rows(samples))
            let (nodes, gradients) = try worker.backward(
                upstream.rows(samples), microBatches: range, of: Self.microBatches,
                rounding: DenseGradientRounding(seed: 1, step: step))
            #expect(bits(gradients.narrowed.widened) == bits(gradients), "every sum is a bf16 already")
            return [nodes, gradients.narrowed]
        }
    }

    /// The part of what ranks push that is in the shard's slices.
    private func part(_ pushed: [[Tensor]], of shard: DenseShard) -> [[Tensor]] {
        pushed.map { tensors in
            let count = tensors[1].shape[0]
            let all = tensors[1].array(UInt16.self)
            var values: [UInt16] = []
            for row in 0..<count {
                for range in shard.ranges {
                    values += all[row * layout.count + range.lowerBound..<row * layout.count + range.upperBound]
                }
            }
            return [tensors[0], Tensor(values, shape: [count, shard.count])]
        }
    }

    @Test(arguments: [
        [0..<4, 4..<7], [0..<3, 3..<7], [0..<1, 1..<2, 2..<7], [0..<7, 7..<7], [0..<0, 0..<5, 5..<7],
    ])
    func neitherRanksNorShardsChangeABit(ranges: [Range<Int>]) throws {
        let whole = try shard(SliceSet(0..<4))
        _ = try whole.dense(pushed: try pushed([0..<Self.microBatches]), step: 3)
        let gradient = try #require(whole.gradient)
        let ranks = try pushed(ranges)
        for slices: SliceSet in [[0, 2], [1, 3]] {
            let one = try shard(slices)
            _ = try one.dense(pushed: part(ranks, of: one), step: 3)
            #expect(
                try bits(#require(one.gradient))
                    == bits(whole.restricted(gradient.narrowed, of: whole.slices, to: slices).widened))
        }
        // Another step has other random bits.
        _ = try whole.dense(pushed: try pushed([0..<Self.microBatches], step: 4), step: 4)
        #expect(try bits(#require(whole.gradient)) != bits(gradient))
    }

    @Test func aLoggedStepIsDoneAgain() throws {
        let original = try shard(SliceSet(0..<4))
        let norm = try original.dense(pushed: try pushed([0..<Self.microBatches]), step: 3)[0].array(Double.self)
            .reduce(0, +)
        let logged = original.logged(try #require(original.gradient))
        #expect(logged.dtype == .bf16 && logged.byteCount == 2 * layout.count)
        let copy = try shard(SliceSet(0..<4))
        let values = try original.update(step: 3, totalSquaredNorm: norm, learningRate: 0.1)[0]
        original.commit()
        try copy.replayUpToUpdated(
            step: 3, gradient: logged, of: copy.slices, totalSquaredNorm: norm, learningRate: 0.1)
        copy.commit()
        #expect(bits(copy.parameters) == bits(values) && copy.contentHashes() == original.contentHashes())
        // A slice by itself, as a copy of it is brought up to date.
        let receiver = try shard([])
        try receiver.holdInitial(2)
        try receiver.replay(
            step: 3, gradient: original.restricted(logged, of: original.slices, to: [2]), of: [2], on: [2],
            totalSquaredNorm: norm, learningRate: 0.1)
        try receiver.activate([2])
        #expect(receiver.contentHashes() == [original.contentHashes()[2]])
    }

    /// The mean over many steps is the sum that is not rounded.
    @Test func roundingHasNoBias() throws {
        let values: [Float] = [1.001, -0.3337, 1e-20, -7.77e12]
        var sums = [Double](repeating: 0, count: values.count)
        let steps = 4000
        for step in 0..<steps {
            var rounded = values
            rounded.withUnsafeMutableBufferPointer {
                DenseGradientRounding(seed: 5, step: step).round(
                    $0.baseAddress!, of: .init(level: 0, index: 1), elements: [7..<9, 20..<22])
            }
            for (index, value) in rounded.enumerated() {
                sums[index] += Double(value)
                #expect(abs(value / values[index] - 1) < 0x1p-7 && value.bitPattern & 0xffff == 0)
            }
        }
        // The standard deviation of a mean is at most 2^-8 / √steps of the value.
        for (sum, value) in zip(sums, values) {
            #expect(abs(sum / Double(steps) / Double(value) - 1) < 4 * 0x1p-8 / Double(steps).squareRoot())
        }
    }

    @Test func whatIsNotFiniteStaysSo() {
        let values = [Float.infinity, -.infinity, .nan, Float(bitPattern: 0x7fff_ffff), Float(bitPattern: 0x7f80_0001)]
        for step in 0..<50 {
            var rounded = values
            rounded.withUnsafeMutableBufferPointer {
                DenseGradientRounding(seed: 5, step: step).round(
                    $0.baseAddress!, of: .init(level: 2, index: 0), elements: [0..<5])
            }
            #expect(rounded.map(\.bitPattern) == values.map(\.bitPattern))
        }
    }

    @Test func anotherFormatIsRefused() throws {
        let shard = try shard(SliceSet(0..<4))
        let (nodes, floats) = (
            Tensor([3, 0] as [Int32], shape: [1, 2]), Tensor(zeros: Float.self, shape: [1, layout.count])
        )
        let error = #expect(throws: BackboneError.self) { try shard.dense(pushed: [[nodes, floats]], step: 0) }
        #expect("\(error!)".contains("expected bf16 [1,\(layout.count)]"))
        #expect(throws: BackboneError.self) {
            try shard.restricted(floats.reshaped([layout.count]), of: shard.slices, to: [1])
        }
    }
}
