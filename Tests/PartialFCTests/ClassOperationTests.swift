import Cluster
import Determinism
import Model
import ParameterStore
import PartialFC
import Tensors
import TestSupport
import Testing

/// Classes that are added, retired and merged between the steps of a run.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ClassOperationTests {
    static let configuration = HeadConfiguration(
        classCount: 101, embeddingSize: 12, sliceCount: 8, seed: 21, margins: .arcFace(), sampleRate: 0.4)

    static let operations: [ClassOperation] = [
        .add(count: 29, path: ""), .retire([3, 50, 51, 52, 129]), .merge(from: 7, into: 110), .add(count: 3, path: ""),
        .merge(from: 110, into: 9),
    ]

    static func registry(_ operations: [ClassOperation] = operations) throws -> ClassRegistry {
        try ClassRegistry(
            classCount: configuration.classCount, sliceCount: configuration.sliceCount, operations: operations)
    }

    // MARK: The registry

    @Test func theRegistryFollowsTheOperations() throws {
        let registry = try Self.registry()
        #expect(registry.version == 5 && registry.classCount == 133 && registry.activeCount == 126)
        #expect(registry.layout.extents == [0..<101, 101..<130, 130..<133])
        #expect(registry.retired == [3, 7, 50, 51, 52, 110, 129])
        // A merge into a class that is merged later counts as the last one.
        #expect([7, 110, 9, 3].map(registry.label) == [9, 9, 9, 3])
        #expect(registry.isRetired(110) && !registry.isRetired(111) && !registry.isRetired(0))
        let again = try ClassRegistry(classCount: 101, sliceCount: 8, operationsJSON: registry.operationsJSON)
        #expect(again == registry)
        #expect(throws: CenterStoreError.self) {
            try ClassRegistry(classCount: 101, sliceCount: 8, operationsJSON: "[{}]")
        }
    }

    @Test(
        arguments: [
            .add(count: 0, path: ""), .add(count: -1, path: ""), .add(count: 1 << 41, path: ""), .retire([]),
            .retire([3]), .retire([133]), .retire([-1]), .retire(SliceSet(0..<133)),
            .merge(from: 7, into: 8), .merge(from: 8, into: 7), .merge(from: 5, into: 5), .merge(from: 5, into: 133),
        ] as [ClassOperation]) func operationsThatDoNotFitAreRefused(operation: ClassOperation) throws
    {
        var registry = try Self.registry()
        let before = registry
        #expect(throws: CenterStoreError.self) { try registry.apply(operation) }
        #expect(registry == before)
    }

    @Test func theLastClassStays() throws {
        var registry = try ClassRegistry(classCount: 3, sliceCount: 2)
        try registry.apply(.retire([0]))
        try registry.apply(.merge(from: 2, into: 1))
        #expect(throws: CenterStoreError.self) { try registry.apply(.retire([1])) }
        #expect(registry.activeCount == 1)
    }

    @Test(arguments: [1, 2, 8, 64]) func everyClassHasOneRow(slices: Int) throws {
        let layout = try SliceLayout(classCount: 101, sliceCount: slices).adding(3).adding(40)
        var seen: [Int64] = []
        for slice in 0..<slices {
            let classes = layout.classes(of: slice)
            #expect(classes.ids.count == classes.count && classes.ids == classes.ids.sorted())
            for (row, id) in classes.ids.enumerated() {
                #expect(classes.id(ofRow: row) == Int(id) && classes.row(ofClass: Int(id)) == row)
                #expect(layout.slice(ofClass: Int(id)) == slice && classes.contains(Int(id)))
            }
            #expect(classes.ids(ofRows: (0..<Int64(classes.count)).map { $0 }) == classes.ids)
            #expect(classes.rows(ofSorted: classes.ids + [999]) == (0..<Int64(classes.count)).map { $0 })
            #expect(classes.row(ofClass: 144) == nil)
            seen += classes.ids
        }
        #expect(seen.sorted() == (0..<144).map(Int64.init))
    }

    // MARK: Sampling

    @Test(arguments: SamplingRule.allCases) func retiredClassesAreNeverSampled(rule: SamplingRule) throws {
        let layout = try SliceLayout(classCount: 3000, sliceCount: 2).adding(1000)
        var random = KeyedRandom(seed: 5, purpose: .test)
        for share in [0.001, 0.5, 0.99] {
            let retired = (0..<4000).filter { _ in random.unit() < share }
            let sampler = ClassSampler(
                layout: layout, retired: SliceSet(numbers: retired), seed: 1, sampleRate: 0.25, rule: rule)
            let isRetired = Set(retired.map(Int64.init))
            for slice in 0..<2 {
                let classes = layout.classes(of: slice)
                let active = classes.ids.filter { !isRetired.contains($0) }
                let positives = Array(active.prefix(3))
                var counts: [Int64: Int] = [:]
                for step in 0..<400 {
                    let choice = sampler.sample(step: step, slice: slice, positives: positives)
                    // Shared out, the remainders of a step fall on either slice, and the positives count for both.
                    let difference = choice.ids.count - max(active.count / 4, positives.count)
                    #expect(rule == .perSlice ? difference == 0 : abs(difference) <= 3)
                    #expect(choice.ids == choice.ids.sorted() && Set(choice.ids).isSuperset(of: positives))
                    #expect(choice.ids == choice.rows.map { Int64(classes.id(ofRow: Int($0))) })
                    #expect(isRetired.isDisjoint(with: choice.ids))
                    for id in choice.ids { counts[id, default: 0] += 1 }
                }
                // Uniform over the others: none is missed in 400 steps at a chance of a quarter.
                if active.count > 100 { #expect(Set(counts.keys) == Set(active)) }
            }
        }
        // All but a few of a slice: they alone.
        let few = ClassSampler(
            layout: try SliceLayout(classCount: 10, sliceCount: 1), retired: [0, 1, 2, 4, 5, 6, 7], seed: 1,
            sampleRate: 1)
        #expect(few.sample(step: 0, slice: 0, positives: [8]).ids == [3, 8, 9])
        let none = ClassSampler(
            layout: try SliceLayout(classCount: 2, sliceCount: 2), retired: [1], seed: 1, sampleRate: 0.5)
        #expect(none.sample(step: 0, slice: 1, positives: []).ids == [])
    }

    @Test func withoutRetiredClassesTheChoiceIsAsBefore() throws {
        let layout = try SliceLayout(classCount: 5000, sliceCount: 4)
        let plain = ClassSampler(layout: layout, seed: 3, sampleRate: 0.1)
        // One class retired changes its slice by one at most, and no other slice.
        let one = ClassSampler(layout: layout, retired: [1300], seed: 3, sampleRate: 0.1)
        for slice in 0..<4 {
            let (a, b) = (
                plain.sample(step: 7, slice: slice, positives: []).ids,
                one.sample(step: 7, slice: slice, positives: []).ids
            )
            if slice == 1 {
                #expect(Set(a).symmetricDifference(b).count <= 3)
                #expect(!b.contains(1300))
            } else {
                #expect(a == b)
            }
        }
    }

    // MARK: The table

    @Test func rowsOfAddedClassesDependOnSeedAndClassAlone() throws {
        let shard = try ShardHead(configuration: Self.configuration, slices: [0, 5], threads: 2)
        let before = try shard.read(ids: classes(of: shard)).rows.array(Float.self)
        let old = classes(of: shard)
        for operation in Self.operations { try shard.apply(operation) }
        #expect(shard.registry == (try Self.registry()))
        #expect(try shard.read(ids: old).rows.array(Float.self) == before)
        let whole = try ShardHead(
            configuration: Self.configuration, registry: try Self.registry(), slices: SliceSet(0..<8), threads: 1)
        #expect(shard.sliceHashes() == whole.sliceHashes().filter { [0, 5].contains($0.key) })
        let added = classes(of: shard).filter { $0 >= 101 }
        #expect(!added.isEmpty)
        let planes = try shard.read(ids: added)
        #expect(
            planes.rows.array(Float.self).allSatisfy { $0 != 0 }
                && planes.momentum.array(Float.self).allSatisfy { $0 == 0 })
        #expect(shard.memoryByteCount == classes(of: shard).count * 12 * 8)
    }

    @Test func rowsOfAddedClassesFromAFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/new.safetensors"
        let values = (0..<5 * 12).map { Float($0) + 1 }
        try SafeTensors(tensors: ["centers": Tensor(values, shape: [5, 12])]).write(to: path)
        let operation = ClassOperation.add(count: 5, path: path)
        let shard = try ShardHead(configuration: Self.configuration, slices: SliceSet(2..<8), threads: 1)
        #expect(throws: HeadError.self) { try shard.apply(operation) }
        let rows = try #require(try shard.initialRows(for: operation))
        try shard.apply(operation, rows: rows)
        let ids = classes(of: shard).filter { $0 >= 101 }
        #expect(ids.count >= 3)
        let read = try shard.read(ids: ids).rows.array(Float.self)
        #expect(read == ids.flatMap { values[(Int($0) - 101) * 12..<(Int($0) - 100) * 12] })
        #expect(throws: HeadError.self) { try shard.initialRows(for: .add(count: 6, path: path)) }
        #expect(throws: HeadError.self) { try shard.initialRows(for: .add(count: 5, path: path + ".missing")) }
        #expect(try shard.initialRows(for: .add(count: 5, path: "")) == nil)
        let hashes = shard.sliceHashes()
        #expect(throws: HeadError.self) { try shard.apply(.add(count: 4, path: path), rows: rows) }
        #expect(throws: HeadError.self) { try shard.apply(.add(count: 5, path: ""), rows: rows) }
        let bad = Tensor([Float](repeating: .nan, count: 60), shape: [5, 12])
        #expect(throws: HeadError.self) { try shard.apply(operation, rows: bad) }
        #expect(shard.sliceHashes() == hashes && shard.registry.version == 1)
        try SafeTensors(tensors: ["centers": bad]).write(to: path)
        #expect(throws: HeadError.self) { try shard.initialRows(for: operation) }
    }

    /// Growth through every size of memory: from the allocator, into a mapping, and on.
    @Test func aSliceGrowsManyTimes() throws {
        let configuration = HeadConfiguration(classCount: 3, embeddingSize: 256, sliceCount: 2, seed: 8)
        let shard = try ShardHead(configuration: configuration, slices: [0, 1], threads: 1)
        var operations: [ClassOperation] = []
        for count in [1, 7, 100, 1, 3000, 2, 20_000, 5] {
            operations.append(.add(count: count, path: ""))
            try shard.apply(operations[operations.count - 1])
            let registry = try ClassRegistry(classCount: 3, sliceCount: 2, operations: operations)
            let fresh = try ShardHead(configuration: configuration, registry: registry, slices: [0, 1], threads: 1)
            #expect(shard.sliceHashes() == fresh.sliceHashes(), "after \(operations)")
        }
    }

    // MARK: Steps

    /// Labels of a batch as a worker would send them: merged ones mapped, none retired.
    static func batch(_ registry: ClassRegistry, step: Int) -> (features: Tensor, labels: [Int64]) {
        var wide = configuration
        wide.classCount = registry.classCount
        let batch = makeBatch(wide, size: 16, step: step)
        return (
            batch.features,
            batch.labels.map { id in
                let label = registry.label(id)
                return registry.isRetired(label) ? 0 : label
            }
        )
    }

    @Test(arguments: Spread.Way.allCases) func aRunWithOperationsIsTheSameInAnySpread(way: Spread.Way) throws {
        var expected: [StepOutcome] = []
        for (shards, workers, scattered) in [(1, 1, false), (3, 2, true), (8, 4, false)] {
            let run = try HeadRun(
                Self.configuration,
                Spread(
                    exchange: way, shards: shards, workers: workers, microBatchSize: 4, threads: 2, scattered: scattered
                ))
            var registry = try Self.registry([])
            var outcomes: [StepOutcome] = []
            for step in 0..<10 {
                let batch = Self.batch(registry, step: step)
                let outcome = try run.prepare(
                    step: step, features: batch.features, labels: batch.labels, learningRate: 0.1)
                #expect(Set(registry.retired.numbers.map(Int64.init)).isDisjoint(with: outcome.ids))
                outcomes.append(outcome)
                try run.commit()
                if step % 2 == 1 {
                    let operation = Self.operations[step / 2]
                    try registry.apply(operation)
                    for shard in run.shards { try shard.apply(operation) }
                    for worker in run.workers { try worker.adopt(registry) }
                }
            }
            if expected.isEmpty { expected = outcomes }
            #expect(outcomes == expected)
        }
        #expect(expected[9].ids.contains { $0 >= 101 })
    }

    /// A restart from the beginning: steps and operations replayed in their order; and from slices that already have the rows
    /// of an operation which others are still to get.
    @Test(arguments: Spread.Way.allCases) func stepsAndOperationsReplay(way: Spread.Way) throws {
        let logged = try ReplayTests.Logged(way, configuration: Self.configuration, shards: 2)
        let add = Self.operations[0]
        func step(_ number: Int) throws {
            let registry = logged.run.shards[0].registry
            let batch = Self.batch(registry, step: number)
            let outcome = try logged.run.prepare(
                step: number, features: batch.features, labels: batch.labels, learningRate: ReplayTests.rate)
            logged.log.append(try logged.run.shards.map { try $0.stepInputs() })
            logged.hashes.append(outcome.hashes)
            try logged.run.commit()
        }
        try step(0)
        try step(1)
        for shard in logged.run.shards { try shard.apply(add) }
        for worker in logged.run.workers { try worker.adopt(logged.run.shards[0].registry) }
        // Slice 3 is copied here, with its new rows, after step 1 and the operation.
        let early = try ShardHead(configuration: Self.configuration, slices: [0, 1, 2], threads: 1)
        let owner = try #require(logged.run.shards.first { $0.activeSlices.contains(3) })
        try early.hold(3, rowCount: owner.table.rowCount(of: 3))
        try ReplayTests.copy(3, from: owner, to: early, pieces: nil)
        try early.activate([3])
        try step(2)
        let ahead = [3: [1]]
        try ReplayTests.replay(early, logged, steps: 0..<2, slices: SliceSet(0..<4), ahead: ahead)
        try early.apply(add)
        try ReplayTests.replay(early, logged, steps: 2..<3, slices: SliceSet(0..<4), ahead: ahead)
        #expect(early.sliceHashes() == logged.hashes[2].filter { $0.key < 4 })
    }

    @Test func labelsOfRetiredClassesAreRefused() throws {
        let shard = try ShardHead(configuration: Self.configuration, slices: [0], threads: 1)
        let worker = try WorkerHead(configuration: Self.configuration, threads: 1)
        try shard.apply(.retire([5]))
        try worker.adopt(shard.registry)
        PayloadTests.refused(.labelOutOfRange, "class 5, which is retired") {
            try shard.begin(step: 0, microBatchSize: 1, labels: [4, 5])
        }
        PayloadTests.refused(.labelOutOfRange, "sample 1") {
            _ = try worker.merge(
                replies: [],
                batch: .init(
                    globalBatchSize: 2, microBatchSize: 1, microBatches: 0..<2, labels: [4, 5],
                    features: Tensor(zeros: Float.self, shape: [2, 12]), step: 0))
        }
        // An explicit choice passes over retired classes.
        try shard.begin(step: 0, microBatchSize: 1, labels: [4], sampled: (0..<101).map(Int64.init))
        #expect(!shard.sampledIDs.contains(5) && shard.sampledIDs.count == shard.table.rowCount(of: 0) - 1)
        PayloadTests.refused(.phase, "begun") { try shard.apply(.add(count: 1, path: "")) }
        shard.rollback()
        let foreign = try ClassRegistry(classCount: 100, sliceCount: 8)
        PayloadTests.refused(.configuration, "100 classes") { try worker.adopt(foreign) }
    }
}
