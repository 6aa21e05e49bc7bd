import Cluster
import Configuration
import Setup
import StepProtocol
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct PlanTests {
    private func setup() throws -> RunSetup {
        var configuration = RunConfiguration()
        configuration.data.classes = 100
        configuration.data.samples = 1000
        configuration.head.slices = 4
        configuration.backbone.denseSlices = 3
        return try RunSetup(configuration)
    }

    private func plan(_ slices: [SliceSet], _ dense: [SliceSet], _ activity: Plan.Activity = .train) -> Plan {
        Plan(
            id: StepID(step: 0, attempt: 0), committed: -1, mapVersion: 1, exchange: .rows, learningRate: 0.1,
            ranks: [],
            shards: zip(slices, dense).enumerated().map { number, sets in
                Plan.Shard(
                    shard: MemberID(.shard, number), endpoint: "tcp://h:\(number)", slices: sets.0, denseSlices: sets.1)
            }, activity: activity)
    }

    @Test func everySliceHasOneOwner() throws {
        let setup = try setup()
        #expect(setup.misfit(of: plan([[0, 3], [1, 2]], [[1], [0, 2]])) == nil)
        #expect(setup.misfit(of: plan([[0, 1, 2, 3], []], [[], [0, 1, 2]])) == nil)
        let missing = setup.misfit(of: plan([[0, 3], [1]], [[1], [0, 2]]))
        #expect(missing == "slice 2 of 4 with 0 owners")
        let double = setup.misfit(of: plan([[0, 3], [1, 2]], [[1, 2], [0, 2]]))
        #expect(double == "dense slice 2 of 3 with 2 owners")
        #expect(setup.misfit(of: plan([[0, 3, 4], [1, 2]], [[1], [0, 2]]))?.contains("of 4") == true)
        // Before the map is made there is nothing to check.
        #expect(setup.misfit(of: plan([], [], .wait(reason: ""))) == nil)
    }
}
