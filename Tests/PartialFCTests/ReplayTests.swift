import Cluster
import Determinism
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

/// A step that is done again from what was kept of it gives the bits of the first time.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ReplayTests {
    static let configuration = HeadConfiguration(
        classCount: 1100, embeddingSize: 4096, sliceCount: 4, seed: 13, margins: .arcFace(), sampleRate: 0.2)
    static let (steps, rate) = (6, Float(0.1))

    /// A run with a log: what a store would keep.
    final class Logged {
        let run: HeadRun
        var log: [[StepInputs]] = []
        /// The hash of every slice after each step.
        var hashes: [[Int: String]] = []

        init(_ way: Spread.Way, configuration: HeadConfiguration = ReplayTests.configuration, shards: Int = 2) throws {
            run = try HeadRun(
                configuration,
                Spread(exchange: way, shards: shards, workers: 2, microBatchSize: 4, threads: 2, scattered: true))
        }

        func step(_ number: Int) throws {
            let batch = makeBatch(run.configuration, size: 16, step: number)
            let outcome = try run.prepare(
                step: number, features: batch.features, labels: batch.labels, learningRate: ReplayTests.rate)
            log.append(try run.shards.map { try $0.stepInputs() })
            hashes.append(outcome.hashes)
            try run.commit()
        }

        /// The inputs of a step that are good for `slice`.
        func inputs(_ step: Int, of slice: Int) -> StepInputs {
            log[step][run.shards.firstIndex { $0.activeSlices.contains(slice) } ?? 0]
        }
    }

    static func replay(
        _ shard: ShardHead, _ logged: Logged, steps: Range<Int>, slices: SliceSet, ahead: [Int: [Int]] = [:]
    ) throws {
        for step in steps {
            for slice in slices.numbers {
                try shard.replay(
                    step: step, microBatchSize: 4, inputs: logged.inputs(step, of: slice), learningRate: rate,
                    slices: [slice], ahead: ahead)
            }
        }
    }

    @Test(arguments: Spread.Way.allCases) func fromTheBeginning(way: Spread.Way) throws {
        let logged = try Logged(way)
        for step in 0..<Self.steps { try logged.step(step) }
        // Every slice by itself, on shards of any other cut, active or not.
        let shard = try ShardHead(configuration: Self.configuration, slices: [0, 3], threads: 1)
        try shard.hold(1)
        try shard.hold(2)
        let fresh = try ShardHead(configuration: Self.configuration, slices: [1, 2], threads: 1)
        for slice in [1, 2] { try Self.copy(slice, from: fresh, to: shard, pieces: nil) }
        try Self.replay(shard, logged, steps: 0..<Self.steps, slices: SliceSet(0..<4))
        let all = shard.table.sliceHashes(parallel: ParallelBlocks(threads: 1))
        #expect(all == logged.hashes[Self.steps - 1])
        #expect(all != logged.hashes[Self.steps - 2])
        // Slices that are not active are no part of what the shard says it has.
        #expect(shard.sliceHashes() == all.filter { [0, 3].contains($0.key) })
        try shard.activate([1, 2])
        #expect(shard.sliceHashes() == all)
        // All slices at once, where the inputs are about all.
        if way == .features {
            let whole = try ShardHead(configuration: Self.configuration, slices: SliceSet(0..<4), threads: 2)
            for step in 0..<Self.steps {
                try whole.replay(
                    step: step, microBatchSize: 4, inputs: logged.log[step][0], learningRate: Self.rate,
                    slices: SliceSet(0..<4))
            }
            #expect(whole.sliceHashes() == all)
        }
    }

    /// Copies pieces of a slice (all if nil).
    static func copy(_ slice: Int, from: ShardHead, to: ShardHead, pieces: [Int]?) throws {
        for piece in pieces ?? Array(0..<from.table.chunkCount(of: slice)) {
            try from.table.withChunk(piece, of: slice) { planes in
                try to.table.withChunk(piece, of: slice) { targets in
                    for (target, source) in zip(targets, planes) {
                        target.copyMemory(from: UnsafeRawBufferPointer(source))
                    }
                }
            }
        }
    }

    @Test(arguments: Spread.Way.allCases) func fromPiecesOfDifferentSteps(way: Spread.Way) throws {
        let logged = try Logged(way)
        let receiver = try ShardHead(configuration: Self.configuration, slices: [], threads: 2)
        let slice = 2
        let owner = try #require(logged.run.shards.first { $0.activeSlices.contains(slice) })
        let count = owner.table.chunkCount(of: slice)
        #expect(owner.table.chunkRows == 128 && count == 3)
        try receiver.hold(slice)
        // Piece k is copied after step 2k, in the middle of training.
        var copied = [Int](repeating: -1, count: count)
        for step in 0..<Self.steps {
            try logged.step(step)
            if step % 2 == 0 {
                copied[step / 2] = step
                try Self.copy(slice, from: owner, to: receiver, pieces: [step / 2])
            }
        }
        #expect(copied == [0, 2, 4])
        try Self.replay(receiver, logged, steps: 1..<Self.steps, slices: [slice], ahead: [slice: copied])
        try receiver.activate([slice])
        #expect(receiver.sliceHashes()[slice] == logged.hashes[Self.steps - 1][slice])
        // Without the steps of the pieces, rows that are ahead would be updated twice.
        let wrong = try ShardHead(configuration: Self.configuration, slices: [], threads: 2)
        try wrong.hold(slice)
        try Self.copy(slice, from: owner, to: wrong, pieces: nil)
        try Self.replay(wrong, logged, steps: 5..<6, slices: [slice])
        try wrong.activate([slice])
        #expect(wrong.sliceHashes()[slice] != logged.hashes[Self.steps - 1][slice])
    }

    @Test(arguments: Spread.Way.allCases) func whileAnotherStepIsUnderWay(way: Spread.Way) throws {
        let logged = try Logged(way)
        for step in 0..<3 { try logged.step(step) }
        // A shard of slice 0 receives slice 1 and replays it between the phases of its own step.
        let shard = try ShardHead(configuration: Self.configuration, slices: [0], threads: 1)
        let other = try ShardHead(configuration: Self.configuration, slices: [1], threads: 1)
        try Self.replay(shard, logged, steps: 0..<2, slices: [0])
        let batch = makeBatch(Self.configuration, size: 16, step: 2)
        try shard.begin(step: 2, microBatchSize: 4, labels: batch.labels)
        try shard.hold(1)
        try Self.copy(1, from: other, to: shard, pieces: nil)
        try Self.replay(shard, logged, steps: 0..<2, slices: [1])
        #expect(throws: HeadError.self) { try Self.replay(shard, logged, steps: 2..<3, slices: [0]) }
        #expect(throws: HeadError.self) { try shard.activate([1]) }
        #expect(throws: HeadError.self) { try shard.remove([0]) }
        switch (way, logged.inputs(2, of: 0)) {
        case (.features, .features(_, let features, let logZ, _)):
            try shard.backward(features: [features], logZ: [logZ], learningRate: Self.rate)
        case (.rows, .rows):
            guard case .rows(_, _, _, let gradient) = try logged.inputs(2, of: 0).restricted(to: [0]) else { return }
            // The root of the tree over four micro-batches.
            let push = gradient.reshaped([1] + gradient.shape)
            try shard.backward(pushed: [[Tensor([2, 0] as [Int32], shape: [1, 2]), push]])
        default: Issue.record("inputs of another exchange")
        }
        try Self.replay(shard, logged, steps: 2..<3, slices: [1])
        try shard.prepare(learningRate: Self.rate)
        try shard.commit()
        try shard.activate([1])
        #expect(shard.sliceHashes() == logged.hashes[2].filter { $0.key < 2 })
    }

    @Test(arguments: Spread.Way.allCases) func theLastStepUpToPrepared(way: Spread.Way) throws {
        let logged = try Logged(way, shards: 1)
        for step in 0..<3 { try logged.step(step) }
        let shard = try ShardHead(configuration: Self.configuration, slices: SliceSet(0..<4), threads: 1)
        func again(_ step: Int) throws {
            try shard.replayUpToPrepared(
                step: step, microBatchSize: 4, inputs: logged.log[step][0], learningRate: Self.rate)
        }
        for step in 0..<2 {
            try again(step)
            #expect(shard.phase == .prepared && shard.sliceHashes() == logged.hashes[step])
            try shard.commit()
        }
        try again(2)
        #expect(shard.sliceHashes() == logged.hashes[2])
        shard.rollback()
        #expect(shard.phase == .idle && shard.sliceHashes() == logged.hashes[1])
        // Pieces that are ahead of it stay as they are, also if it is rolled back.
        let ahead = [0: [1, 2, 1], 3: [2, 2, 2]]
        try ReplayTests.copy(0, from: logged.run.shards[0], to: shard, pieces: [1])
        try ReplayTests.copy(3, from: logged.run.shards[0], to: shard, pieces: nil)
        let mixed = shard.sliceHashes()
        for commits in [false, true] {
            try shard.replayUpToPrepared(
                step: 2, microBatchSize: 4, inputs: logged.log[2][0], learningRate: Self.rate, ahead: ahead)
            #expect(shard.sliceHashes() == logged.hashes[2])
            if commits {
                try shard.commit()
            } else {
                shard.rollback()
                #expect(shard.sliceHashes() == mixed && mixed != logged.hashes[2])
            }
        }
        #expect(shard.sliceHashes() == logged.hashes[2])
    }

    @Test(arguments: Spread.Way.allCases) func aLogRecordHoldsTheInputs(way: Spread.Way) throws {
        let logged = try Logged(way)
        try logged.step(0)
        let inputs = logged.log[0][0]
        let header = LogRecord.Header(
            term: 1, step: 0, attempt: 0, kind: inputs.kind, slices: logged.run.shards[0].activeSlices)
        let record = LogRecord(header: header, tensors: inputs.tensors + [Tensor(zeros: Float.self, shape: [0])])
        let shard = try ShardHead(configuration: Self.configuration, slices: [0, 2], threads: 1)
        try shard.replay(
            step: 0, microBatchSize: 4, inputs: try StepInputs(record), learningRate: Self.rate, slices: [0, 2])
        #expect(shard.sliceHashes() == logged.hashes[0].filter { [0, 2].contains($0.key) })
        var skip = record
        skip.header.kind = .skip
        #expect(throws: HeadError.self) { try StepInputs(skip) }
        #expect(throws: HeadError.self) { try StepInputs(LogRecord(header: header)) }
    }

    /// What a log or a peer says wrong is refused, and nothing changes.
    @Test func inputsThatDoNotFitAreRefused() throws {
        let logged = try Logged(.rows)
        try logged.step(0)
        guard case .rows(let labels, let slices, let counts, let gradient) = logged.log[0][0] else {
            Issue.record("not of a rows exchange")
            return
        }
        let shard = try ShardHead(configuration: Self.configuration, slices: SliceSet(0..<4), threads: 1)
        let before = shard.sliceHashes()
        func refused(_ words: String, _ inputs: StepInputs, _ wanted: SliceSet? = nil) {
            #expect {
                try shard.replay(
                    step: 0, microBatchSize: 4, inputs: inputs, learningRate: Self.rate, slices: wanted ?? slices)
            } throws: { error in
                let matches = error is HeadError && "\(error)".contains(words)
                if !matches { print("expected \(words), got \(error)") }
                return matches
            }
        }
        refused("asked for", .rows(labels: labels, slices: slices, counts: counts, gradient: gradient), [1])
        refused("not held", .rows(labels: labels, slices: slices, counts: counts, gradient: gradient), [7])
        refused("counts", .rows(labels: labels, slices: slices, counts: Tensor([1] as [Int32]), gradient: gradient))
        let other = Tensor(counts.array(Int32.self).reversed().map { $0 + 1 })
        refused("sampled rows", .rows(labels: labels, slices: slices, counts: other, gradient: gradient))
        refused("sampled rows", .rows(labels: labels, slices: slices, counts: counts, gradient: gradient.rows(0..<1)))
        refused("sampled rows", .rows(labels: labels, slices: slices, counts: counts, gradient: labels))
        let bad = Tensor([Float](repeating: .nan, count: gradient.count), shape: gradient.shape)
        refused("not finite", .rows(labels: labels, slices: slices, counts: counts, gradient: bad))
        let narrow = gradient.reshaped([gradient.shape[0], gradient.shape[1]]).array(Float.self)
        refused(
            "other rows",
            .rows(
                labels: labels, slices: slices, counts: counts,
                gradient: Tensor(Array(narrow[0..<gradient.shape[0]]), shape: [gradient.shape[0], 1])))
        refused("labels", .features(labels: gradient, features: gradient, logZ: gradient))
        refused(
            "logZ", .features(labels: labels, features: Tensor(zeros: Float.self, shape: [16, 4096]), logZ: labels))
        #expect(shard.sliceHashes() == before && shard.phase == .idle)
    }
}

/// When classes took part in a step last.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct RowHistoryTests {
    private func last(_ shard: ShardHead, _ ids: [Int64]) -> [[Int64]] {
        let steps = shard.lastSteps(ids: ids).array(Int64.self)
        return ids.indices.map { Array(steps[2 * $0..<2 * $0 + 2]) }
    }

    @Test func theLastStepIsThatOfTheLastSample() throws {
        let logged = try ReplayTests.Logged(.features)
        let shards = logged.run.shards
        let ids = (0..<Int64(ReplayTests.configuration.classCount)).map { $0 }
        var expected = [Int64](repeating: -1, count: ids.count)
        for shard in shards { #expect(last(shard, ids).allSatisfy { $0 == [-1, -1] }) }
        for step in 0..<ReplayTests.steps {
            let batch = makeBatch(logged.run.configuration, size: 16, step: step)
            _ = try logged.run.prepare(
                step: step, features: batch.features, labels: batch.labels, learningRate: ReplayTests.rate)
            let sampled = shards.flatMap(\.sampledIDs)
            // What is not committed has not been.
            for shard in shards { #expect(last(shard, sampled).allSatisfy { $0[0] < Int64(step) }) }
            try logged.run.commit()
            for id in sampled { expected[Int(id)] = Int64(step) }
            for shard in shards {
                for (id, known) in zip(ids, last(shard, ids)) where known[1] >= 0 {
                    #expect(known == [expected[Int(id)], 0])
                }
            }
        }
        #expect(Set(expected).count == ReplayTests.steps + 1, "some never, some in each step")
        #expect(last(shards[0], [-1, 1100, .max]) == [[-1, -1], [-1, -1], [-1, -1]])
    }

    @Test func whatIsReplayedIsKnownFromThereOn() throws {
        let logged = try ReplayTests.Logged(.features)
        for step in 0..<ReplayTests.steps { try logged.step(step) }
        let shard = try ShardHead(configuration: ReplayTests.configuration, slices: [0], threads: 1)
        try ReplayTests.replay(shard, logged, steps: 0..<2, slices: [0])
        let ids = (0..<Int64(ReplayTests.configuration.classCount)).map { $0 }
        #expect(last(shard, ids).contains([1, 0]) && !last(shard, ids).contains { $0[0] > 1 })
        try shard.remove([0])
        #expect(last(shard, ids).allSatisfy { $0 == [-1, -1] }, "nothing is known of a slice that went")
        // A copy of it that came later knows from its first step on.
        try shard.add([0], from: .random(seed: 1))
        try ReplayTests.replay(shard, logged, steps: 3..<5, slices: [0])
        let known = last(shard, ids).filter { $0[1] >= 0 }
        #expect(known.allSatisfy { $0[1] == 3 } && known.contains { $0[0] == -1 } && known.contains { $0[0] == 4 })
    }
}
