import Cluster
import Model
import ParameterStore
import Tensors
import TestSupport
import Testing

/// Dense slices that come and go, and steps that are done again from a log.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct DenseSliceTests {
    let layout: ParameterLayout
    static let microBatches = 2

    init() throws { layout = try ParameterLayout(smallConfiguration()) }

    private func shard(_ slices: SliceSet, of count: Int = 8) throws -> DenseShard {
        try DenseShard(layout: layout, slices: slices, of: count, seed: 2, microBatchCount: Self.microBatches)
    }

    /// One rank that has summed everything.
    private func pushed(_ shard: DenseShard, step: Int) -> [[Tensor]] {
        let all = randomTensor([layout.count], seed: UInt64(100 + step)).array(Float.self)
        let values = shard.ranges.flatMap { Array(all[$0]) }
        return [[Tensor([1, 0] as [Int32], shape: [1, 2]), Tensor(values, shape: [1, values.count])]]
    }

    private func hashes(_ shards: [DenseShard]) -> [Int: String] {
        var result: [Int: String] = [:]
        for shard in shards {
            for (slice, hash) in zip(shard.slices.numbers, shard.contentHashes()) { result[slice] = hash }
        }
        return result
    }

    private static func norm(_ step: Int) -> Double { Double(step * step + 3) }

    private func step(_ shard: DenseShard, _ number: Int, commit: Bool = true) throws {
        _ = try shard.dense(pushed: pushed(shard, step: number), step: 0)
        _ = try shard.update(step: 0, totalSquaredNorm: Self.norm(number), learningRate: 0.1)
        if commit { shard.commit() }
    }

    @Test func movesBetweenStepsChangeNoBit() throws {
        let still = try shard(SliceSet(0..<8))
        let shards = try [shard([0, 1, 2]), shard([3, 4, 5, 6, 7]), shard([])]
        for (number, move) in [(1, 0, 2), (7, 1, 0), (4, 1, 2), (1, 2, 1), (0, 0, 1), (2, 0, 2)].enumerated() {
            try step(still, number)
            for index in shards.indices { try step(shards[index], number) }
            #expect(hashes(shards) == hashes([still]), "after step \(number)")
            let (slice, from, to) = move
            let state = shards[from].state(ofSlice: slice)
            try shards[to].add([slice], planes: state)
            try shards[from].remove([slice])
            #expect(hashes(shards) == hashes([still]))
        }
        #expect(shards[0].slices == [7] && shards[1].slices == [0, 1, 3, 5, 6] && shards[2].slices == [2, 4])
    }

    @Test func slicesThatDoNotFitAreRefused() throws {
        let one = try shard([1, 5])
        let state = one.state(ofSlice: 5)
        let before = one.contentHashes()
        func refused(_ body: () throws -> Void) { #expect(throws: BackboneError.self) { try body() } }
        refused { try one.add([5], planes: state) }
        refused { try one.add([8], planes: state) }
        refused { try one.add([2, 3], planes: state) }
        refused { try one.add([2], planes: [state.rows, state.momentum.rows(0..<3)]) }
        refused { _ = try shard([8]) }
        try step(one, 0, commit: false)
        refused { try one.remove([1]) }
        refused { try one.add([2], planes: state) }
        one.rollback()
        #expect(one.contentHashes() == before && one.slices == [1, 5])
        #expect(one.chunk(0, ofSlice: 2) == nil && one.chunk(1, ofSlice: 5) == nil && one.chunk(-1, ofSlice: 5) == nil)
        #expect(one.chunk(0, ofSlice: 5).map { bits($0[0]) } == bits(state[0]))
    }

    @Test func theLogGivesTheSameBits() throws {
        let original = try shard([0, 1, 2, 5, 6])
        var log: [Tensor] = []
        var wanted: [[Int: String]] = []
        for number in 0..<4 {
            _ = try original.dense(pushed: pushed(original, step: number), step: 0)
            log.append(try #require(original.gradient))
            _ = try original.update(step: 0, totalSquaredNorm: Self.norm(number), learningRate: 0.1)
            original.commit()
            wanted.append(hashes([original]))
        }
        func replay(_ copy: DenseShard, _ number: Int, commit: Bool = true) throws {
            try copy.replayUpToUpdated(
                step: number, gradient: log[number], of: original.slices, totalSquaredNorm: Self.norm(number),
                learningRate: 0.1)
            if commit { copy.commit() }
        }
        for slices in [original.slices, [1, 2, 6], [5]] as [SliceSet] {
            let copy = try shard(slices)
            for number in 0..<4 { try replay(copy, number) }
            #expect(hashes([copy]) == wanted[3].filter { slices.contains($0.key) })
        }
        // The last step up to prepared.
        let last = try shard(original.slices)
        for number in 0..<3 { try replay(last, number) }
        try replay(last, 3, commit: false)
        #expect(hashes([last]) == wanted[3] && last.gradient != nil)
        #expect(throws: BackboneError.self) { try replay(last, 3) }
        last.rollback()
        #expect(hashes([last]) == wanted[2])
        try replay(last, 3, commit: false)
        last.commit()
        #expect(hashes([last]) == wanted[3])
        // What does not fit.
        let other = try shard([3])
        #expect(throws: BackboneError.self) { try replay(other, 0) }
        #expect(throws: BackboneError.self) {
            try other.replayUpToUpdated(
                step: 0, gradient: log[0], of: [3], totalSquaredNorm: 1, learningRate: 0.1)
        }
        #expect(throws: BackboneError.self) {
            try other.replayUpToUpdated(
                step: 0, gradient: log[0], of: [3, 9], totalSquaredNorm: 1, learningRate: 0.1)
        }
        #expect(throws: BackboneError.self) {
            try last.replayUpToUpdated(
                step: 4, gradient: log[0], of: original.slices, totalSquaredNorm: .nan, learningRate: 0.1)
        }
        #expect(hashes([last]) == wanted[3])
    }

    /// A slice of several pieces, copied between different steps.
    @Test func piecesOfDifferentStepsAreBroughtTogether() throws {
        let configuration = BackboneConfiguration(
            name: "wide", depths: [1], widths: [256], strides: [2], stemWidth: 64, inputChannels: 3, inputHeight: 16,
            inputWidth: 16, embeddingSize: 32)
        let layout = try ParameterLayout(configuration)
        func shard(_ slices: SliceSet) throws -> DenseShard {
            try DenseShard(layout: layout, slices: slices, of: 2, seed: 2, microBatchCount: Self.microBatches)
        }
        let owner = try shard([0, 1])
        let pieces = owner.shape(ofSlice: 1).chunkCount
        try #require(pieces >= 2, "the network has \(layout.count) numbers")
        var log: [Tensor] = []
        var parts: [[Tensor]] = []
        for number in 0..<pieces * 2 {
            let gradient = randomTensor([1, layout.count], seed: UInt64(number))
            _ = try owner.dense(pushed: [[Tensor([1, 0] as [Int32], shape: [1, 2]), gradient]], step: 0)
            log.append(try #require(owner.gradient))
            _ = try owner.update(step: 0, totalSquaredNorm: 4, learningRate: 0.1)
            owner.commit()
            if number % 2 == 0 { parts.append(try #require(owner.chunk(number / 2, ofSlice: 1))) }
        }
        let copy = try shard([])
        try copy.hold(1)
        for (index, part) in parts.enumerated() {
            try copy.withChunk(index, ofSlice: 1) { planes in
                for (target, source) in zip(planes, part) {
                    source.array(Float.self).withUnsafeBytes { target.copyMemory(from: $0) }
                }
            }
        }
        for number in 1..<pieces * 2 {
            try copy.replay(
                step: number, gradient: log[number], of: [0, 1], on: [1], totalSquaredNorm: 4, learningRate: 0.1,
                ahead: [1: (0..<pieces).map { 2 * $0 }])
        }
        try copy.activate([1])
        #expect(copy.contentHashes()[0] == owner.contentHashes()[1])
    }

    @Test func initialValuesComeFromAFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/backbone.safetensors"
        let values = randomTensor([layout.count], seed: 9)
        try BackboneFile.write(values, layout: layout, to: path)
        func load(_ slices: SliceSet) throws -> DenseShard {
            try DenseShard(
                layout: layout, slices: slices, of: 8, seed: 2, initial: path, microBatchCount: Self.microBatches)
        }
        let shard = try load([2, 3, 6])
        let expected = shard.ranges.flatMap { Array(values.array(Float.self)[$0]) }
        #expect(shard.parameters.array(Float.self) == expected)
        #expect(shard.planes.momentum.array(Float.self).allSatisfy { $0 == 0 })
        var spoiled = values.array(Float.self)
        spoiled[try #require(layout["layer1.0.bn2.bias"]).range.lowerBound] = .infinity
        try BackboneFile.write(Tensor(spoiled), layout: layout, to: path)
        #expect { try load([1]) } throws: { "\($0)".contains("layer1.0.bn2.bias") }
        #expect(throws: BackboneError.self) {
            try DenseShard(
                layout: layout, slices: [1], of: 8, seed: 2, initial: path + ".missing", microBatchCount: 2)
        }
        let other = try ParameterLayout(smallConfiguration(channels: 1))
        #expect {
            try DenseShard(layout: other, slices: [1], of: 8, seed: 2, initial: path, microBatchCount: 2)
        } throws: {
            "\($0)".contains("conv1.weight")
        }
    }

    @Test func valuesThatWouldNotBeFiniteNameTheirLayer() throws {
        let shard = try shard(SliceSet(0..<8))
        let before = shard.contentHashes()
        _ = try shard.dense(pushed: pushed(shard, step: 0), step: 0)
        #expect { try shard.update(step: 0, totalSquaredNorm: 1, learningRate: 1e39) } throws: {
            ($0 as? BackboneError)?.code == .nonFinite && "\($0)".contains("conv1.weight")
        }
        #expect(shard.contentHashes() == before)
        // The same step with a rate that works goes on from there.
        _ = try shard.update(step: 0, totalSquaredNorm: 1, learningRate: 0.1)
        #expect(shard.contentHashes() != before)
    }
}
