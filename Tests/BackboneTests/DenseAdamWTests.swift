import Cluster
import Model
import ParameterStore
import Tensors
import TestSupport
import Testing

/// AdamW of the backbone's parameters.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct DenseAdamWTests {
    let layout: ParameterLayout

    init() throws { layout = try ParameterLayout(smallConfiguration()) }

    private func shard(
        _ slices: SliceSet, of count: Int, _ optimizer: DenseOptimizer
    ) throws -> DenseShard {
        try DenseShard(layout: layout, slices: slices, of: count, seed: 2, optimizer: optimizer, microBatchCount: 1)
    }

    private func pushed(_ shard: DenseShard, _ values: [Float]) -> [[Tensor]] {
        let own = shard.ranges.flatMap { Array(values[$0]) }
        return [[Tensor([0, 0] as [Int32], shape: [1, 2]), Tensor(own, shape: [1, own.count])]]
    }

    private func step(_ shard: DenseShard, _ number: Int, _ gradient: [Float], rate: Double) throws {
        _ = try shard.dense(pushed: pushed(shard, gradient), step: 0)
        _ = try shard.update(step: number, totalSquaredNorm: 1, learningRate: rate)
        shard.commit()
    }

    /// 50 steps with given gradients, beside PyTorch in float64.
    @Test func agreesWithPyTorch() throws {
        let golden = try AdamWGolden()
        let count = golden["vector.values"].count
        let segment = try #require(layout.segments.first { $0.kind == .parameter && $0.range.count >= count })
        let optimizer = DenseOptimizer(
            rule: .adamW(.init(weightDecay: AdamWGolden.weightDecay)), clipNorm: .infinity)
        let start = segment.range.lowerBound
        var values = [Float](repeating: 0, count: layout.count)
        values.replaceSubrange(start..<start + count, with: AdamWGolden.numbers(count, kind: 2))
        let none = Tensor(zeros: Float.self, shape: [layout.count])
        let shard = try DenseShard(
            layout: layout, slices: [0], of: 1, planes: [Tensor(values), none, none], optimizer: optimizer,
            microBatchCount: 1)
        for number in 0..<AdamWGolden.steps {
            var gradient = [Float](repeating: 0, count: layout.count)
            gradient.replaceSubrange(start..<start + count, with: AdamWGolden.numbers(count, kind: 2000 + number))
            try step(shard, number, gradient, rate: Double(AdamWGolden.learningRate))
        }
        for (plane, name) in ["values", "first_moment", "second_moment"].enumerated() {
            let found = shard.planes[plane].array(Float.self)[start..<start + count]
            let error = relativeError(Array(found), golden["vector.\(name)"].map { Float($0) })
            print("AdamW of the backbone: \(name) \(error)")
            #expect(error < 1e-6, "\(name): relative error \(error)")
        }
    }

    /// However the vector is cut, moments in bf16 are rounded alike; and a log gives the same bits.
    @Test(arguments: [NumberFormat.f32, .bf16]) func cutsAndLogsChangeNoBit(format: NumberFormat) throws {
        let optimizer = DenseOptimizer(rule: .adamW(.init(storage: format)))
        let whole = try shard(SliceSet(0..<8), of: 8, optimizer)
        let parts = try [shard([0, 3, 4, 7], of: 8, optimizer), shard([1, 2, 5, 6], of: 8, optimizer)]
        let copy = try shard([], of: 8, optimizer)
        try copy.holdInitial(5)
        for number in 0..<4 {
            let gradient = AdamWGolden.numbers(layout.count, kind: number)
            for part in parts { try step(part, number, gradient, rate: 0.01) }
            _ = try whole.dense(pushed: pushed(whole, gradient), step: 0)
            let kept = try #require(whole.gradient)
            _ = try whole.update(step: number, totalSquaredNorm: 1, learningRate: 0.01)
            whole.commit()
            try copy.replay(
                step: number, gradient: kept, of: whole.slices, on: [5], totalSquaredNorm: 1, learningRate: 0.01)
        }
        var hashes = [String](repeating: "", count: 8)
        for part in parts {
            for (slice, hash) in zip(part.slices.numbers, part.contentHashes()) { hashes[slice] = hash }
        }
        #expect(whole.contentHashes() == hashes)
        try copy.activate([5])
        #expect(copy.contentHashes() == [hashes[5]])
        #expect(whole.planes.map(\.dtype) == [.f32, format.dtype, format.dtype])
    }

    /// Biases, normalisations and slopes do not decay in the group `weights`.
    @Test(arguments: [Optimizer.sgd(.init(weightDecay: 0.5)), .adamW(.init(weightDecay: 0.5))])
    func onlyWeightsDecay(rule: Optimizer) throws {
        let all = try shard([0], of: 1, DenseOptimizer(rule: rule))
        let weights = try shard([0], of: 1, DenseOptimizer(rule: rule, decay: .weights))
        let before = all.parameters.array(Float.self)
        let gradient = [Float](repeating: 0, count: layout.count)
        try step(all, 0, gradient, rate: 0.1)
        try step(weights, 0, gradient, rate: 0.1)
        let (first, second) = (all.parameters.array(Float.self), weights.parameters.array(Float.self))
        for segment in layout.segments where segment.kind == .parameter {
            let isWeight = segment.name.hasSuffix("weight") && segment.shape.count > 1
            for i in segment.range where before[i] != 0 {
                #expect(first[i] != before[i] && (second[i] != before[i]) == isWeight, "\(segment.name)")
            }
        }
    }
}
