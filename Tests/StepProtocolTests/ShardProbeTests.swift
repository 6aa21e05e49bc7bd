import Cluster
import StepProtocol
import TestSupport
import Testing

/// Signs of life from the shards while a worker takes no part in a step.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ShardProbeTests {
    private let shard = MemberID(.shard, 0)

    @Test func whoDoesNotAnswerIsSilent() {
        var probe = ShardProbe()
        let first = probe.look(at: [shard, MemberID(.shard, 1)], .zero)
        #expect(first.ask == [shard, MemberID(.shard, 1)] && first.silent.isEmpty)
        probe.answered(MemberID(.shard, 1))
        let second = probe.look(at: [shard, MemberID(.shard, 1)], .seconds(3))
        #expect(second.ask.isEmpty && second.silent == [shard])
        probe.answered(shard)
        #expect(probe.look(at: [shard], .seconds(4)).silent.isEmpty)
    }

    /// A shard that still owed an answer when the worker took part in a step is asked again, and said to be silent again.
    @Test func aStepInBetweenHidesNoSilence() {
        var probe = ShardProbe()
        for start in [0, 10, 20] {
            #expect(probe.look(at: [shard], .seconds(start)).ask == [shard])
            #expect(probe.look(at: [shard], .seconds(start + 1)).silent.isEmpty)
            probe.stop()
        }
        #expect(probe.look(at: [shard], .seconds(30)).ask == [shard])
        #expect(probe.look(at: [shard], .seconds(33)).silent == [shard])
    }

    @Test func anAnswerCountsForAWhile() {
        var probe = ShardProbe()
        _ = probe.look(at: [shard], .zero)
        probe.answered(shard)
        #expect(probe.look(at: [shard], .seconds(4)).ask.isEmpty)
        #expect(probe.look(at: [shard], .seconds(5)).ask == [shard])
        #expect(probe.look(at: [shard], .seconds(6)).silent.isEmpty)
        #expect(probe.look(at: [shard], .seconds(8)).silent == [shard])
    }
}
