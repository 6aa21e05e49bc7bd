import Coordinator
import OperatorStatus
import TestSupport
import Testing

/// Answers that would end an operator's command.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct AnswerCheckTests {
    private func problem(_ change: (inout ClusterStatus.Shard) -> Void) -> String? {
        var shard = ClusterStatus.Shard(name: "shard-0", endpoint: "tcp://a:1")
        (shard.classes, shard.slices, shard.committed) = ([[0, 5], [9, 9]], [], 1 << 40)
        change(&shard)
        return AnswerCheck.problem(of: [shard])
    }

    @Test func whatCanBeMeantPasses() {
        #expect(problem { _ in } == nil)
        #expect(AnswerCheck.problem(of: RunHistory(totalSteps: 5, batchSize: 8, stepsPerPoint: 1)) == nil)
        #expect(AnswerCheck.problem(of: ["a": -1, "b": 1 << 48]) == nil)
    }

    @Test func numbersAndRangesThatCannotBeAreNamed() {
        #expect(problem { $0.committed = .max } == "committed is \(Int.max)")
        #expect(problem { $0.snapshotStep = .min } != nil)
        for classes in [[[1]], [[]], [[3, 1]], [[-1, 2]], [[0, 1 << 60]], [[1, 2, 3]]] {
            #expect(problem { $0.classes = classes } == "classes has ranges that are none", "\(classes)")
        }
    }
}
