import Cluster
import Determinism
import Model
import Tensors
import TestSupport
import Testing
import Training

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct DenseShardTests {
    let layout: ParameterLayout
    let gradients: Tensor
    static let microBatches = 3

    init() throws {
        layout = try ParameterLayout(smallConfiguration())
        gradients = randomTensor([Self.microBatches, layout.count], seed: 8)
    }

    private func shard(_ slices: SliceSet = [0], of count: Int = 1, optimizer: DenseOptimizer = DenseOptimizer())
        throws -> DenseShard
    {
        try DenseShard(
            layout: layout, slices: slices, of: count, seed: 2, optimizer: optimizer, microBatchCount: Self.microBatches
        )
    }

    /// Leaves 0, 1, 2 pushed by one rank each, cut to the shard's elements; `scale` makes steps differ.
    private func pushed(_ range: Range<Int>, scale: Float = 1) -> [[Tensor]] { pushed([range], scale: scale) }

    private func pushed(_ ranges: [Range<Int>], scale: Float = 1) -> [[Tensor]] {
        (0..<Self.microBatches).map { leaf in
            let all = gradients.rows(leaf..<leaf + 1).array(Float.self)
            let values = ranges.flatMap { all[$0].map { $0 * scale } }
            return [Tensor([0, Int32(leaf)], shape: [1, 2]), Tensor(values, shape: [1, values.count])]
        }
    }

    @Test func twoStepsAgreeWithTheFormula() throws {
        let optimizer = DenseOptimizer(rule: .sgd(.init(momentum: 0.9, weightDecay: 1e-2)), clipNorm: 5)
        let shard = try shard(optimizer: optimizer)
        var p = shard.parameters.array(Float.self).map(Double.init)
        var v = [Double](repeating: 0, count: layout.count)
        for (step, rate) in [0.1, 0.05].enumerated() {
            let sum = (0..<layout.count).map { i in
                (0..<Self.microBatches).reduce(0.0) {
                    $0 + Double(gradients.array(Float.self)[$1 * layout.count + i]) * Double(step + 1)
                }
            }
            var squared = 0.0
            for segment in layout.segments where segment.kind == .parameter {
                for i in segment.range { squared += sum[i] * sum[i] }
            }
            let norms = try shard.dense(pushed: pushed(0..<layout.count, scale: Float(step + 1)), step: 0)[0].array(
                Double.self)
            #expect(norms.count == 1 && abs(norms[0] / squared - 1) < 1e-6)
            let clip = min(1, 5 / (squared.squareRoot() + 1e-6))
            #expect(clip < 1)
            for segment in layout.segments {
                for i in segment.range {
                    switch segment.kind {
                    case .parameter:
                        v[i] = 0.9 * v[i] + clip * sum[i] + 1e-2 * p[i]
                        p[i] -= rate * v[i]
                    case .statistic: p[i] = 0.9 * p[i] + 0.1 * sum[i] / 3
                    case .frozen: break
                    }
                }
            }
            let updated = try shard.update(step: 0, totalSquaredNorm: norms[0], learningRate: rate)
            shard.commit()
            #expect(relativeError(updated[0].array(Float.self), p.map { Float($0) }) < 1e-6)
            #expect(relativeError(shard.planes.momentum.array(Float.self), v.map { Float($0) }) < 1e-6)
            let frozen = try #require(layout["features.weight"]).range
            #expect(updated[0].array(Float.self)[frozen].allSatisfy { $0 == 1 })
        }
    }

    @Test func theCutIntoShardsDoesNotChangeABit() throws {
        func run(_ cuts: [SliceSet]) throws -> (values: [Int: [UInt32]], hashes: [Int: String]) {
            let shards = try cuts.map { try shard($0, of: 8) }
            for step in 1...3 {
                var squared = [Double](repeating: .nan, count: 8)
                for i in shards.indices {
                    let norms = try shards[i].dense(pushed: pushed(shards[i].ranges, scale: Float(step)), step: 0)[0]
                    for (slice, norm) in zip(shards[i].slices.numbers, norms.array(Double.self)) {
                        squared[slice] = norm
                    }
                }
                let total = squared.reduce(0, +)
                for i in shards.indices {
                    _ = try shards[i].update(step: 0, totalSquaredNorm: total, learningRate: 0.1)
                    shards[i].commit()
                }
            }
            var result: (values: [Int: [UInt32]], hashes: [Int: String]) = ([:], [:])
            for shard in shards {
                for (slice, hash) in zip(shard.slices.numbers, shard.contentHashes()) {
                    result.hashes[slice] = hash
                    result.values[slice] = bits(shard.state(ofSlice: slice).rows)
                }
            }
            return result
        }
        let whole = try run([SliceSet(0..<8)])
        #expect(whole.hashes.count == 8)
        for cuts in [
            [SliceSet(0..<4), SliceSet(4..<8)], [[0], SliceSet(1..<8)],
            [SliceSet(0..<3), [], [3, 4], SliceSet(5..<8)],
            [[0, 3, 5], [1, 2, 7], [4, 6]],
        ] {
            let split = try run(cuts)
            #expect(split.values == whole.values)
            #expect(split.hashes == whole.hashes)
        }
        #expect(Set(whole.hashes.values).count == 8)
    }

    @Test func rollbackIsExactAndARepeatGivesTheSame() throws {
        let shard = try shard(optimizer: DenseOptimizer(clipNorm: .infinity))
        let all = 0..<layout.count
        _ = try shard.dense(pushed: pushed(all), step: 0)
        _ = try shard.update(step: 0, totalSquaredNorm: 4, learningRate: 0.1)
        shard.commit()
        let before = (bits(shard.parameters), bits(shard.planes.momentum), shard.contentHashes())
        _ = try shard.dense(pushed: pushed(all, scale: 2), step: 0)
        let first = bits(try shard.update(step: 0, totalSquaredNorm: 4, learningRate: 0.1)[0])
        #expect(first != before.0)
        shard.rollback()
        #expect(
            bits(shard.parameters) == before.0 && bits(shard.planes.momentum) == before.1
                && shard.contentHashes() == before.2)
        _ = try shard.dense(pushed: pushed(all, scale: 2), step: 0)
        #expect(bits(try shard.update(step: 0, totalSquaredNorm: 4, learningRate: 0.1)[0]) == first)
        shard.commit()
        #expect(bits(shard.parameters) == first && shard.contentHashes() != before.2)
    }

    @Test func parametersThatWereHandedOutNeverChange() throws {
        let shard = try shard()
        let handedOut = shard.parameters
        let before = bits(handedOut)
        for step in 1...4 {
            _ = try shard.dense(pushed: pushed(0..<layout.count, scale: Float(step)), step: 0)
            _ = try shard.update(step: 0, totalSquaredNorm: 1, learningRate: 0.1)
            if step == 2 { shard.rollback() } else { shard.commit() }
        }
        #expect(bits(handedOut) == before)
    }

    @Test func denormalsAreZeroOnAnyThread() throws {
        let shard = try shard(optimizer: DenseOptimizer(rule: .sgd(.init(weightDecay: 0))))
        let tiny = (0..<Self.microBatches).map { leaf in
            let gradient = Tensor(
                [Float](repeating: Float.leastNormalMagnitude / 64, count: layout.count), shape: [1, layout.count])
            return [Tensor([0, Int32(leaf)], shape: [1, 2]), gradient]
        }
        #expect(try shard.dense(pushed: tiny, step: 0)[0].array(Double.self) == [0])
        _ = try shard.update(step: 0, totalSquaredNorm: 0, learningRate: 1)
        #expect(shard.planes.momentum.array(Float.self).allSatisfy { $0 == 0 })
    }

    @Test func stateRestoresAShard() throws {
        let original = try shard(SliceSet(0..<4), of: 4)
        _ = try original.dense(pushed: pushed(0..<layout.count), step: 0)
        _ = try original.update(step: 0, totalSquaredNorm: 9, learningRate: 0.2)
        original.commit()
        let state = original.state(ofSlice: 2)
        let restored = try DenseShard(
            layout: layout, slices: [2], of: 4, planes: state,
            microBatchCount: Self.microBatches)
        #expect(restored.contentHashes() == [original.contentHashes()[2]])
        #expect(throws: BackboneError.self) {
            try DenseShard(
                layout: layout, slices: SliceSet(0..<3), of: 4, planes: state,
                microBatchCount: 3)
        }
    }

    @Test func badPayloadsAreRefusedAndLeaveNothing() throws {
        let shard = try shard()
        let good = pushed(0..<layout.count)
        let hashes = shard.contentHashes()
        func code(_ payload: [[Tensor]]) -> BackboneError.Code? {
            do throws(BackboneError) {
                _ = try shard.dense(pushed: payload, step: 0)
                return nil
            } catch { return error.code }
        }
        let count = layout.count
        #expect(code([]) == .invalidPayload)
        #expect(code(Array(good.dropLast())) == .invalidPayload)
        #expect(code(good + [good[0]]) == .invalidPayload)
        #expect(code([good[0], good[1], [good[2][0]]]) == .invalidPayload)
        #expect(code([good[0], good[1], [good[2][0], randomTensor([1, count - 1], seed: 1)]]) == .invalidPayload)
        #expect(code([good[0], good[1], [Tensor([Int64(0), 2], shape: [1, 2]), good[2][1]]]) == .invalidPayload)
        #expect(code([good[0], good[1], [Tensor([Int32(0), 2]), good[2][1]]]) == .invalidPayload)
        for node in [[0, 3], [3, 0], [-1, 0], [0, -1], [1, 1 << 30], [Int32.max, 0], [2, 0]] as [[Int32]] {
            #expect(code([good[0], good[1], [Tensor(node, shape: [1, 2]), good[2][1]]]) == .invalidPayload)
        }
        let spoiled = Tensor(good[1][1].array(Float.self), shape: [1, count])
        let layer = try #require(layout["layer2.0.conv1.weight"])
        spoiled.mutable(Float.self)[layer.range.lowerBound + 17] = .nan
        do {
            _ = try shard.dense(pushed: [good[0], [good[1][0], spoiled], good[2]], step: 0)
            Issue.record("a gradient with a NaN was taken")
        } catch {
            #expect(error.code == .nonFinite && error.message.contains("layer2.0.conv1.weight"))
        }
        let statistic = try #require(layout["bn1.running_var"])
        spoiled.mutable(Float.self)[layer.range.lowerBound + 17] = 0
        spoiled.mutable(Float.self)[statistic.range.lowerBound] = .infinity
        #expect(code([good[0], [good[1][0], spoiled], good[2]]) == .nonFinite)
        #expect(throws: BackboneError.self) { try shard.update(step: 0, totalSquaredNorm: 1, learningRate: 0.1) }
        #expect(code(good) == nil)
        #expect(throws: BackboneError.self) { try shard.update(step: 0, totalSquaredNorm: .nan, learningRate: 0.1) }
        #expect(throws: BackboneError.self) { try shard.update(step: 0, totalSquaredNorm: 1, learningRate: .infinity) }
        #expect(shard.contentHashes() == hashes)
        _ = try shard.update(step: 0, totalSquaredNorm: 1, learningRate: 0.1)
        #expect(code(good) == .wrongPhase)
    }

    @Test func aBackboneWithoutParametersIsOrdinary() throws {
        let configuration = BackboneConfiguration.identity(embeddingSize: 16)
        let layout = try ParameterLayout(configuration)
        #expect(layout.count == 0 && layout.parameterCount == 0)
        let worker = try BackboneWorker(
            configuration: configuration, microBatchSize: 4, blocks: ParallelBlocks(threads: 2))
        try worker.load(Tensor([Float]()))
        let images = randomTensor([12, 16], seed: 1)
        #expect(bits(try worker.forward(images: images)) == bits(images))
        #expect(bits(try worker.embed(images: images.reshaped([12, 16, 1, 1]))) == bits(images))
        _ = try worker.forward(images: images)
        let (nodes, gradients) = try worker.backward(images, microBatches: 0..<3, of: 4)
        #expect(nodes.array(Int32.self) == [1, 0, 0, 2] && gradients.shape == [2, 0])
        let shard = try DenseShard(layout: layout, slices: [0, 1], of: 2, seed: 1, microBatchCount: 4)
        let last = [Tensor([Int32(0), 3], shape: [1, 2]), Tensor(zeros: Float.self, shape: [1, 0])]
        #expect(try shard.dense(pushed: [[nodes, gradients], last], step: 0)[0].array(Double.self) == [0, 0])
        #expect(try shard.update(step: 0, totalSquaredNorm: 0, learningRate: 0.1)[0].shape == [0])
        shard.commit()
        #expect(shard.contentHashes().count == 2)
    }
}
