import Cluster
import Configuration
import Model
import Setup
import TestSupport
import Testing

/// Which step has which values of the head.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct HeadScheduleTests {
    private func setup(_ stages: String, steps: Int, _ settings: [String] = []) throws -> RunSetup {
        var configuration = try RunConfiguration(
            yaml: "schedule: {steps: \(steps), stages: \(stages)}", settings: ["head.m2=0.2"] + settings)
        configuration.data.classes = 1000
        configuration.data.samples = 1000
        return try RunSetup(configuration)
    }

    private func values(
        _ stages: String, steps: Int, _ name: HeadValues.Name
    ) throws -> [Double] {
        let schedule = try setup(stages, steps: steps).headSchedule
        return (0..<steps).map { schedule.values(at: $0)[name] }
    }

    @Test func withoutStagesEveryStepHasWhatTheHeadHas() throws {
        let setup = try setup("[]", steps: 5)
        #expect(setup.headSchedule.isConstant && setup.headSchedule.values(at: 3) == setup.head.values)
        #expect(setup.headSchedule.largestSampleRate == 0.1)
    }

    @Test func stagesInWords() throws {
        let schedule = try setup(
            "[{until: 0.6, sample_rate: 0.25, m2: 0 to 0.5}, {until: 0.65, m3: 0.1}, {until: 0.8}, {scale: 32}]",
            steps: 5
        ).headSchedule
        #expect(
            schedule.summaries == [
                "stage 1 of 4, steps 0 to 2: sample_rate 0.25, m2 0 to 0.5",
                "stage 2 of 4, no step: it is shorter than half of one",
                "stage 3 of 4, steps 3 to 3: as the head is configured", "stage 4 of 4, steps 4 to 4: scale 32",
            ])
        #expect(
            (0..<6).map { schedule.summary(ofStageAt: $0)?.prefix(7) } == [
                "stage 1", nil, nil, "stage 3", "stage 4", nil,
            ])
    }

    @Test func aStageEndsAtItsFractionOfTheSteps() throws {
        let stages = "[{until: 0.6, sample_rate: 0.25}, {sample_rate: 1, scale: 32}]"
        #expect(try values(stages, steps: 5, .sampleRate) == [0.25, 0.25, 0.25, 1, 1])
        #expect(try values(stages, steps: 5, .scale) == [64, 64, 64, 32, 32])
        // Rounded to the nearest step: 0.29 of 100 is 29, though the product of these numbers is less.
        let rates = try values("[{until: 0.29, sample_rate: 0}]", steps: 100, .sampleRate)
        #expect(rates.count { $0 == 0 } == 29 && rates[28] == 0 && rates[29] == 0.1)
        #expect(try values("[{until: 0.5, sample_rate: 0}]", steps: 3, .sampleRate) == [0, 0, 0.1])
        // A stage that is shorter than half a step has none.
        #expect(
            try values("[{until: 0.1, sample_rate: 0}, {until: 0.5, sample_rate: 1}]", steps: 4, .sampleRate)
                == [1, 1, 0.1, 0.1])
    }

    @Test func aValueThatIsNotNamedIsThatOfTheHead() throws {
        #expect(
            try values("[{until: 0.5, m2: 0.5}, {m3: 0.1}]", steps: 4, .m2) == [
                0.5, 0.5, Double(Float(0.2)), Double(Float(0.2)),
            ])
    }

    @Test func aRampGoesFromTheFirstStepOfItsStageToTheLast() throws {
        #expect(
            try values("[{until: 0.5, m2: 0 to 0.5}, {m2: 0.5}]", steps: 10, .m2) == [
                0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5,
            ])
        #expect(try values("[{until: 0.1, m2: 0 to 0.5}, {m2: 1}]", steps: 10, .m2)[0] == 0.5)
        // As numbers in a file are: in single precision, but for the rate.
        let scales = try values("[{scale: 1 to 2}]", steps: 11, .scale)
        #expect(scales == scales.map { Double(Float($0)) } && scales[1] == Double(Float(1.1)) && scales[10] == 2)
        #expect(try values("[{sample_rate: 1 to 0}]", steps: 11, .sampleRate)[1] == 0.9)
    }

    @Test func theExchangeIsChosenForTheBusiestStep() throws {
        #expect(try setup("[{until: 0.5, sample_rate: 0.5}]", steps: 10).headSchedule.largestSampleRate == 0.5)
        #expect(
            try setup("[{until: 0.5, sample_rate: 0.2 to 0.7}, {m2: 1}]", steps: 10).headSchedule.largestSampleRate
                == 0.7)
        // Where stages name it everywhere, what the head has is of no step.
        let all = try setup("[{sample_rate: 0.05}]", steps: 10)
        #expect(all.headSchedule.largestSampleRate == 0.05)
        #expect(try setup("[{until: 0.9, sample_rate: 0.05}]", steps: 10).headSchedule.largestSampleRate == 0.1)
        let few = ["head.sample_rate=0", "batch.size=8", "batch.micro_batch=8"]
        let busy = try setup("[{until: 0.9}, {sample_rate: 1}]", steps: 10, few)
        #expect(try setup("[]", steps: 10, few).exchange == .rows && busy.exchange == .features)
    }
}
