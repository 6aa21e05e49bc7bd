import Cluster
import Configuration
import Model
import RunData
import Setup
import StepProtocol
import TestSupport
import Testing

/// What an external run is to shards and coordinator: class centers, and nothing else.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ExternalSetupTests {
    private func run(_ settings: String...) throws -> RunConfiguration {
        try RunConfiguration(
            yaml: "{data: {kind: external, classes: 1000}, backbone: {name: external, embedding_size: 64}}",
            settings: settings)
    }

    @Test func thereIsNoBackbone() throws {
        let setup = try RunSetup(run("schedule.rate=job").countingData { Issue.record("\($0)") }.decided(like: nil))
        #expect(setup.layout.count == 0 && setup.backbone.isIdentity && setup.configuration.denseSliceCount == 1)
        #expect(setup.head.classCount == 1000 && setup.head.embeddingSize == 64)
        #expect(setup.schedule.totalSteps == (1 << 48) - 1)
        let shard = Plan.Shard(
            shard: MemberID(.shard, 0), endpoint: "tcp://h:0", slices: SliceSet(0..<16), denseSlices: [0])
        let plan = Plan(
            id: StepID(step: 1 << 47, attempt: 0), committed: (1 << 47) - 1, mapVersion: 1, exchange: .features,
            learningRate: 0.1, ranks: [], shards: [shard], activity: .train)
        #expect(setup.misfit(of: plan) == nil)
    }

    /// Without a number of steps the rate stays what it is.
    @Test func theRateIsConstantWithoutANumberOfSteps() throws {
        let setup = try RunSetup(
            run("schedule.warmup=0", "schedule.decay_power=0", "schedule.learning_rate=0.3"))
        for step in [0, 5, 1 << 40] { #expect(Float(setup.schedule.rate(at: step)) == 0.3) }
        let counted = try RunSetup(run("schedule.steps=10", "schedule.warmup=0"))
        #expect(counted.schedule.rate(at: 5) < counted.schedule.rate(at: 4))
    }

    @Test func thereAreNoDataToOpen() throws {
        let error = #expect(throws: ConfigurationError.self) { try TrainingData(run("schedule.rate=job")) }
        #expect(error?.key == "data.kind")
    }
}
