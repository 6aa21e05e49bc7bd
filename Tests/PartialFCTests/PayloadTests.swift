import Cluster
import Determinism
import Model
import PartialFC
import Tensors
import TestSupport
import Testing

/// What peers send wrong is refused with a message that says what, and a step can go on afterwards.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct PayloadTests {
    static let configuration = HeadConfiguration(
        classCount: 60, embeddingSize: 6, sliceCount: 8, seed: 2, margins: .arcFace(), sampleRate: 0.3)

    /// Two shards that have begun, and the rank that computes everything.
    static func begun() throws -> (shards: [ShardHead], worker: WorkerHead, batch: WorkerHead.Batch) {
        let (features, labels) = makeBatch(configuration, size: 12)
        let shards = try [0..<3, 3..<8].map {
            try ShardHead(configuration: configuration, slices: SliceSet($0), threads: 1)
        }
        for shard in shards { try shard.begin(step: 0, microBatchSize: 4, labels: labels) }
        let batch = WorkerHead.Batch(
            globalBatchSize: 12, microBatchSize: 4, microBatches: 0..<3, labels: labels, features: features,
            step: 0)
        return (shards, try WorkerHead(configuration: configuration, threads: 1), batch)
    }

    static func refused(_ code: HeadError.Code, _ words: String, _ body: () throws -> Void) {
        #expect {
            try body()
        } throws: { error in
            let matches = (error as? HeadError)?.code == code && "\(error)".contains(words)
            if !matches { print("expected \(code) … \(words) …, got \(error)") }
            return matches
        }
    }

    @Test func repliesOfShards() throws {
        let (shards, worker, batch) = try Self.begun()
        let good = try shards.map { try $0.forward(features: batch.features, microBatches: 0..<3) }
        func changed(_ shard: Int, _ tensor: Int, _ new: Tensor) -> [[Tensor]] {
            var replies = good
            replies[shard][tensor] = new
            return replies
        }
        func merge(_ replies: [[Tensor]]) throws { _ = try worker.merge(replies: replies, batch: batch) }
        try merge(good)
        Self.refused(.malformed, "slice 3") { try merge([good[0]]) }
        Self.refused(.malformed, "slice 0") { try merge([good[1]]) }
        Self.refused(.malformed, "slice 0") { try merge([]) }
        Self.refused(.malformed, "twice") { try merge(good + [good[1]]) }
        Self.refused(.malformed, "expected 7") { try merge([good[0], Array(good[1].dropLast())]) }
        Self.refused(.malformed, "node (9, 0)") {
            try merge(changed(0, 0, Tensor([9, 0, 0, 2] as [Int32], shape: [2, 2])))
        }
        Self.refused(.malformed, "nodes") { try merge(changed(0, 0, Tensor([1, 0] as [Int64], shape: [1, 2]))) }
        Self.refused(.malformed, "maximum") { try merge(changed(0, 1, Tensor(zeros: Float.self, shape: [2, 11]))) }
        Self.refused(.malformed, "numerator") {
            try merge(changed(1, 3, Tensor(zeros: Float.self, shape: [2, 12, 5])))
        }
        Self.refused(.notFinite, "sample 5") {
            var values = good[0][2].array(Float.self)
            values[5] = .nan
            try merge(changed(0, 2, Tensor(values, shape: good[0][2].shape)))
        }
        Self.refused(.notFinite, "sample 2") {
            var values = good[0][3].array(Float.self)
            values[6 * 2 + 1] = .infinity
            try merge(changed(0, 3, Tensor(values, shape: good[0][3].shape)))
        }
        // The targets: one missing, one that is not there, one twice.
        let targets = good[0][4].array(Int32.self)
        try #require(!targets.isEmpty)
        var without = good
        without[0][4] = Tensor(Array(targets.dropLast()))
        without[0][5] = Tensor(Array(good[0][5].array(Float.self).dropLast()))
        without[0][6] = good[0][6].rows(0..<targets.count - 1)
        Self.refused(.malformed, "no shard sent the target of sample \(targets[targets.count - 1])") {
            try merge(without)
        }
        for wrong in [Int32(-1), 12, .max] {
            Self.refused(.malformed, "target for sample \(wrong)") {
                try merge(changed(0, 4, Tensor([wrong] + targets.dropFirst())))
            }
        }
    }

    @Test func requestsOfWorkers() throws {
        let (shards, worker, batch) = try Self.begun()
        let (shard, all) = (shards[0], batch.features)
        Self.refused(.malformed, "micro-batches") { _ = try shard.forward(features: all, microBatches: 0..<4) }
        Self.refused(.malformed, "12 samples for 2") { _ = try shard.forward(features: all, microBatches: 0..<2) }
        Self.refused(.malformed, "[n, 6]") {
            _ = try shard.forward(features: all.reshaped([6, 12]), microBatches: 0..<3)
        }
        Self.refused(.notFinite, "sample 7") {
            var values = all.rows(4..<12).array(Float.self)
            values[3 * 6] = .nan
            _ = try shard.forward(features: Tensor(values, shape: [8, 6]), microBatches: 1..<3)
        }
        let output = try worker.merge(
            replies: try shards.map { try $0.forward(features: all, microBatches: 0..<3) }, batch: batch)
        Self.refused(.malformed, "logZ") {
            try shard.backward(features: [all], logZ: [output.logZ.rows(0..<11)], learningRate: 0.1)
        }
        Self.refused(.malformed, "ranks") { try shard.backward(features: [all], logZ: [], learningRate: 0.1) }
        Self.refused(.malformed, "whole number") {
            try shard.backward(
                features: [all.rows(0..<5), all.rows(5..<12)],
                logZ: [output.logZ.rows(0..<5), output.logZ.rows(5..<12)], learningRate: 0.1)
        }
        Self.refused(.notFinite, "sample 0") {
            try shard.backward(
                features: [all], logZ: [Tensor([Double](repeating: .nan, count: 12))], learningRate: 0.1)
        }
        Self.refused(.phase, "begun") { try shard.prepare(learningRate: 0.1) }
        Self.refused(.phase, "begun") { try shard.commit() }
        Self.refused(.phase, "begun") { try shard.begin(step: 1, microBatchSize: 4, labels: batch.labels) }
        // After all this the step goes on.
        Self.refused(.malformed, "learning rate") {
            try shard.backward(features: [all], logZ: [output.logZ], learningRate: .nan)
        }
        try shard.backward(features: [all], logZ: [output.logZ], learningRate: 0.1)
        Self.refused(.malformed, "learning rate") { try shard.prepare(learningRate: 0.2) }
        try shard.prepare(learningRate: 0.1)
        try shard.commit()
        Self.refused(.phase, "begin comes first") { _ = try shard.rowsReply() }
    }

    @Test func rowsAndTheirGradients() throws {
        let (shards, worker, batch) = try Self.begun()
        let (pulled, slices) = (try shards.map { try $0.rowsReply() }, shards.map(\.activeSlices))
        func softmax(_ pulled: [[Tensor]], _ slices: [SliceSet]) throws {
            _ = try worker.softmax(pulled: pulled, slices: slices, batch: batch)
        }
        Self.refused(.malformed, "slice 3") { try softmax([pulled[0]], [slices[0]]) }
        Self.refused(.malformed, "each once") { try softmax(pulled, [SliceSet(0..<3), SliceSet(2..<8)]) }
        Self.refused(.malformed, "counts") { try softmax(pulled, [SliceSet(0..<4), SliceSet(4..<8)]) }
        var bad = pulled
        var ids = pulled[1][1].array(Int64.self)
        ids.swapAt(0, 1)
        bad[1][1] = Tensor(ids)
        Self.refused(.malformed, "out of order") { try softmax(bad, slices) }
        bad = pulled
        bad[1][0] = Tensor([Int32](repeating: -1, count: 5))
        Self.refused(.malformed, "sampled -1") { try softmax(bad, slices) }
        bad = pulled
        var rows = pulled[0][2].array(Float.self)
        rows[7] = .nan
        bad[0][2] = Tensor(rows, shape: pulled[0][2].shape)
        Self.refused(.notFinite, "class \(pulled[0][1].array(Int64.self)[1])") { try softmax(bad, slices) }

        let pushed = try worker.softmax(pulled: pulled, slices: slices, batch: batch).backward.map { [$0] }
        let shard = shards[0]
        Self.refused(.malformed, "micro-batch 0") { try shard.backward(pushed: []) }
        Self.refused(.malformed, "twice") { try shard.backward(pushed: pushed[0] + pushed[0]) }
        Self.refused(.malformed, "row gradient") { try shard.backward(pushed: pushed[1]) }
        var gradient = pushed[0][0]
        gradient[1] = Tensor([Float](repeating: .infinity, count: gradient[1].count), shape: gradient[1].shape)
        Self.refused(.notFinite, "class") { try shard.backward(pushed: [gradient]) }
        try shard.backward(pushed: pushed[0])
        try shard.prepare(learningRate: 0.1)
    }

    @Test func beginnings() throws {
        let shard = try ShardHead(configuration: Self.configuration, slices: SliceSet(0..<8), threads: 1)
        Self.refused(.labelOutOfRange, "sample 1") { try shard.begin(step: 0, microBatchSize: 1, labels: [3, 60]) }
        Self.refused(.labelOutOfRange, "-1") { try shard.begin(step: 0, microBatchSize: 1, labels: [-1]) }
        Self.refused(.malformed, "micro-batches of 2") {
            try shard.begin(step: 0, microBatchSize: 2, labels: [1, 2, 3])
        }
        Self.refused(.malformed, "micro-batches of 0") { try shard.begin(step: 0, microBatchSize: 0, labels: [1]) }
        Self.refused(.malformed, "0 samples") { try shard.begin(step: 0, microBatchSize: 1, labels: []) }
        Self.refused(.malformed, "step is -1") { try shard.begin(step: -1, microBatchSize: 1, labels: [1]) }
        for (sampled, words) in [
            ([5, 3], "ascending"), ([3, 3], "ascending"), ([3, 60], "0..<60"), ([4], "class 3"),
        ] {
            Self.refused(.malformed, words) {
                try shard.begin(step: 0, microBatchSize: 1, labels: [3], sampled: sampled.map { Int64($0) })
            }
        }
        #expect(shard.phase == .idle)
        #expect(throws: HeadError.self) {
            try ShardHead(configuration: Self.configuration, slices: SliceSet(5..<9), threads: 1)
        }
        #expect(throws: HeadError.self) {
            try ShardHead(configuration: Self.configuration, slices: SliceSet(0..<8), threads: 0)
        }
    }

    /// Replaces, drops, doubles or reshapes something in a payload.
    static func mutate(_ payload: [[Tensor]], _ random: inout KeyedRandom) -> [[Tensor]] {
        var payload = payload
        let sender = Int(random.below(UInt64(payload.count)))
        let index = Int(random.below(UInt64(payload[sender].count)))
        let tensor = payload[sender][index]
        switch random.below(6) {
        case 0: payload[sender].remove(at: index)
        case 1: payload[sender].append(tensor)
        case 2: payload[sender][index] = tensor.reshaped([tensor.count])
        case 3: payload[sender][index] = tensor.shape[0] > 0 ? tensor.rows(0..<tensor.shape[0] - 1) : tensor
        case 4: payload.swapAt(sender, Int(random.below(UInt64(payload.count))))
        default:
            let bytes = Tensor(zeros: UInt8.self, shape: [tensor.byteCount])
            bytes.rawPointer.copyMemory(from: tensor.rawPointer, byteCount: tensor.byteCount)
            for _ in 0..<3 where !bytes.shape.contains(0) {
                bytes.mutable(UInt8.self)[Int(random.below(UInt64(tensor.byteCount)))] = UInt8(random.below(256))
            }
            payload[sender][index] = Tensor(dtype: tensor.dtype, shape: tensor.shape, storage: bytes.storage)
        }
        return payload
    }

    @Test func mutatedPayloadsNeverTrap() throws {
        var random = KeyedRandom(seed: 77, purpose: .test)
        let (shards, worker, batch) = try Self.begun()
        let replies = try shards.map { try $0.forward(features: batch.features, microBatches: 0..<3) }
        let pulled = try shards.map { try $0.rowsReply() }
        let slices = shards.map(\.activeSlices)
        let pushed = try worker.softmax(pulled: pulled, slices: slices, batch: batch).backward[0]
        let logZ = try worker.merge(replies: replies, batch: batch).logZ
        let before = shards.map { $0.sliceHashes() }
        var refusals = 0
        func attempt(_ body: () throws -> Void) {
            do { try body() } catch {
                #expect(error is HeadError)
                refusals += 1
            }
        }
        for _ in 0..<1500 {
            attempt { _ = try worker.merge(replies: Self.mutate(replies, &random), batch: batch) }
            attempt { _ = try worker.softmax(pulled: Self.mutate(pulled, &random), slices: slices, batch: batch) }
            attempt { try shards[0].backward(pushed: Self.mutate([pushed], &random)) }
            shards[0].rollback()
            try shards[0].begin(step: 0, microBatchSize: 4, labels: batch.labels)
            let both = Self.mutate([[batch.features, logZ]], &random)
            attempt {
                try shards[0].backward(features: [both[0][0]], logZ: Array(both[0].dropFirst()), learningRate: 0.1)
            }
            shards[0].rollback()
            try shards[0].begin(step: 0, microBatchSize: 4, labels: batch.labels)
        }
        #expect(refusals > 2500)
        #expect(shards.map { $0.sliceHashes() } == before)
    }
}
