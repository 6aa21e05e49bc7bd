internal import Cluster
internal import Determinism
internal import StepProtocol
import TestSupport
import Testing

/// Micro-batches are divided by the speed that workers have shown.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct MicroBatchSharesTests {
    // MARK: The division

    @Test func equalSharesDifferByOneAtMost() {
        #expect(MicroBatchShares.equal(8, ranks: 2).counts == [4, 4])
        #expect(MicroBatchShares.equal(5, ranks: 3).counts == [1, 2, 2])
        #expect(MicroBatchShares.equal(1, ranks: 2).counts == [0, 1])
    }

    @Test func whoIsTwiceAsFastHasTwiceAsMuch() {
        #expect(MicroBatchShares.balanced(6, paces: [1, 2]).counts == [4, 2])
        #expect(MicroBatchShares.balanced(6, paces: [1, 2]).ranges == [0..<4, 4..<6])
        #expect(MicroBatchShares.balanced(8, paces: [1, 2]).seconds(paces: [1, 2]) == 6)
    }

    @Test func whoSaysNothingHasAnEqualShare() {
        #expect(MicroBatchShares.balanced(8, paces: [nil, nil]).counts == [4, 4])
        #expect(MicroBatchShares.balanced(9, paces: [1, nil, 2]).counts == [4, 3, 2])
    }

    @Test func everyoneHasSomethingWhileThereIsEnough() {
        #expect(MicroBatchShares.balanced(4, paces: [1, 1000]).counts == [3, 1])
        #expect(MicroBatchShares.balanced(2, paces: [1, 1000, 1]).counts == [0, 1, 1], "there is not enough")
    }

    /// No division with one micro-batch elsewhere is done sooner.
    @Test(arguments: 0..<200 as Range<UInt64>) func theLastIsDoneAsSoonAsPossible(seed: UInt64) {
        var random = KeyedRandom(seed: seed, purpose: .test, 20)
        let paces: [Double?] = (0..<1 + random.below(7)).map { _ in 0.001 + random.unit() * random.unit() }
        let count = paces.count + Int(random.below(60))
        let shares = MicroBatchShares.balanced(count, paces: paces)
        #expect(shares.counts.reduce(0, +) == count && shares.counts.allSatisfy { $0 > 0 }, "seed \(seed)")
        for (from, to) in paces.indices.flatMap({ from in paces.indices.map { (from, $0) } })
        where from != to && shares.counts[from] > 1 {
            var other = shares
            other.counts[from] -= 1
            other.counts[to] += 1
            #expect(other.seconds(paces: paces) >= shares.seconds(paces: paces) * (1 - 1e-12), "seed \(seed)")
        }
    }

    @Test func noFigureIsTooStrange() {
        let paces: [Double?] = [1e-9, 1e9, 1, nil]
        #expect(MicroBatchShares.balanced(65_536, paces: paces).counts.reduce(0, +) == 65_536)
        #expect(MicroBatchShares.balanced(65_536, paces: Array(repeating: 1, count: 4096)).counts.max() == 16)
    }

    // MARK: The coordinator

    private var cluster = CoordinatorFixture(
        CoordinatorFixture.configuration(steps: 100, microBatches: 6) { $0.sharesAreMeasured = true })
    private mutating func start(workers: Int) {
        for worker in 0..<workers { cluster.join("w\(worker)") }
        for shard in 0..<2 { cluster.join("s\(shard)") }
    }

    private var counts: [Int] { cluster.machine.plan.ranks.map(\.microBatches.count) }

    /// Steps in which worker n takes so many seconds for a micro-batch; 0: it does not say.
    private mutating func commit(_ steps: Int, seconds: [Double]) {
        for _ in 0..<steps {
            let ranks = cluster.machine.plan.ranks
            let results = ranks.indices.map { rank in
                let worker = ranks[rank].worker.number
                let seconds = Double(ranks[rank].microBatches.count) * seconds[worker]
                return cluster.done(worker, cluster.result(rank, backbone: seconds))
            }
            cluster.prepare()
            for result in results { cluster.tell(result) }
        }
    }

    @Test mutating func aSlowWorkerGetsLess() {
        start(workers: 2)
        commit(7, seconds: [1, 2])
        #expect(counts == [3, 3], "nothing is known for sure yet")
        commit(1, seconds: [1, 2])
        #expect(counts == [4, 2])
        #expect(cluster.machine.plan.ranks.map(\.microBatches) == [0..<4, 4..<6])
        #expect(cluster.database.paces == [0: 1, 1: 2])
        commit(20, seconds: [1, 2])
        #expect(counts == [4, 2])
        commit(20, seconds: [2, 1])
        #expect(counts == [2, 4], "it has become the faster one")
        commit(20, seconds: [1, 1])
        #expect(counts == [3, 3])
    }

    @Test mutating func aRestartKeepsWhatWasDecided() {
        start(workers: 2)
        commit(8, seconds: [1, 2])
        cluster.restart()
        for shard in 0..<2 {
            cluster.join("s\(shard)", previous: shard, state: CoordinatorFixture.holding(cluster.machine.committed))
        }
        cluster.beat("w0")
        #expect(counts == [6], "the other one is not there yet")
        commit(1, seconds: [1, 2])
        cluster.beat("w1")
        commit(1, seconds: [1, 2])
        #expect(counts == [4, 2])
    }

    @Test mutating func aWorkerThatJoinsHasAnEqualShareUntilItHasShownItsPace() {
        start(workers: 2)
        commit(8, seconds: [1, 4])
        #expect(counts == [5, 1])
        cluster.join("w2")
        commit(1, seconds: [1, 4, 1])
        #expect(counts == [3, 1, 2])
    }

    @Test mutating func workersThatDoNotSayHowLongTheyTookHaveEqualShares() {
        start(workers: 2)
        commit(30, seconds: [0, 0])
        #expect(counts == [3, 3])
        commit(30, seconds: [1, 0])
        #expect(counts == [3, 3])
    }

    @Test mutating func whatIsNoPartOfTheStepsTimeChangesNothing() {
        start(workers: 2)
        commit(30, seconds: [0.001, 0.01])
        #expect(counts == [3, 3], "a step takes a second")
    }

    @Test mutating func sharesAreEqualIfTheConfigurationSaysSo() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 100, microBatches: 6))
        start(workers: 2)
        commit(30, seconds: [1, 2])
        #expect(counts == [3, 3])
    }
}
