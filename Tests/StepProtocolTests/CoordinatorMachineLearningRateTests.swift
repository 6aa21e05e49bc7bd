internal import Cluster
import Foundation
internal import StepProtocol
import TestSupport
import Testing

/// Which steps have the learning rate that an operator has set. The fixture's schedule is 1/(step + 1).
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineLearningRateTests {
    private var cluster = CoordinatorFixture(
        CoordinatorFixture.configuration(steps: 100) { $0.checkpointDirectory = "/c" })

    private var rate: Float { cluster.machine.plan.learningRate }
    private var steps: [Int?] { cluster.machine.rates.map(\.fromStep) }

    private mutating func returnOfTheShards(newest: Int) {
        for shard in ["s0", "s1"] { cluster.join(shard, state: CoordinatorFixture.holding(newest)) }
    }

    @Test mutating func aStepThatHasBegunKeepsItsRate() {
        cluster.start()
        cluster.commit(through: 2)
        #expect(cluster.tell(.learningRate(.fixed(0.125))) == [])
        #expect(rate == 0.25 && steps == [nil])
        // Not even its next attempt has another.
        cluster.tell(.left(MemberID(.worker, 0), incarnation: 0))
        cluster.join("w1")
        #expect(cluster.machine.id.attempt == 1 && rate == 0.25)
        cluster.commit()
        #expect(rate == 0.125 && steps == [4])
        #expect(
            cluster.decisions == [
                .committed(StepID(term: 1, step: 3, attempt: 1)), .rates([.init(fromStep: 4, rule: .fixed(0.125))]),
            ])
        cluster.commit(through: 20)
        #expect(rate == 0.125)
    }

    @Test mutating func aPausedRunTakesItAtOnce() {
        cluster.start()
        cluster.tell(.pause)
        cluster.commit()
        #expect(cluster.waits == "paused after step 0")
        cluster.tell(.learningRate(.scaled(0.5)))
        #expect(steps == [1])
        cluster.tell(.learningRate(.scaled(4)))
        #expect(cluster.machine.rates == [.init(fromStep: 1, rule: .scaled(4))], "the last word counts")
        cluster.tell(.resume)
        #expect(rate == 2)
        cluster.commit()
        #expect(rate == Float(4) / 3)
    }

    @Test mutating func beforeTheFirstStepItHoldsFromTheFirst() {
        cluster.tell(.learningRate(.fixed(3)))
        #expect(steps == [0])
        cluster.start()
        #expect(rate == 3)
    }

    @Test mutating func theScheduleComesBack() {
        cluster.start()
        cluster.tell(.learningRate(.fixed(0.5)))
        cluster.commit(through: 3)
        cluster.tell(.learningRate(.schedule))
        cluster.commit()
        #expect(rate == 1 / 6 && steps == [1, 5])
        #expect(cluster.machine.learningRate(4) == 0.5 && cluster.machine.learningRate(0) == 1)
    }

    @Test mutating func aRateThatIsFarAboveTheScheduleIsAWarning() {
        cluster.start()
        cluster.tell(.pause)
        cluster.commit()
        #expect(cluster.tell(.learningRate(.fixed(5))) == [])
        let words = cluster.tell(.learningRate(.fixed(5.5)))
        #expect(words.count == 1 && words[0].hasPrefix("warning: learning rate 5.5 from step 1 on"), "\(words)")
    }

    @Test mutating func itSurvivesTheCoordinator() {
        cluster.start()
        cluster.tell(.pause)
        cluster.commit(through: 0)
        cluster.tell(.learningRate(.fixed(0.125)))
        cluster.restart()
        returnOfTheShards(newest: 0)
        cluster.tell(.resume)
        cluster.beat("w0")
        #expect(cluster.machine.activity == .train && cluster.machine.id.step == 1 && rate == 0.125)
    }

    @Test mutating func afterARestartAttemptsOfTheStepAreForgottenFirst() {
        cluster.start()
        cluster.commit(through: 1)
        // An attempt of step 2 is under way, and may be in some log.
        cluster.restart()
        cluster.tell(.pause)
        cluster.tell(.learningRate(.fixed(0.125)))
        returnOfTheShards(newest: 1)
        cluster.beat("w0")
        #expect(cluster.waits == "paused after step 1" && steps == [nil])
        cluster.tell(.resume)
        #expect(cluster.task?.kind == .restore(checkpoint: nil) && cluster.task?.step == 1)
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.activity == .train && cluster.machine.id.step == 2)
        #expect(rate == 0.125 && steps == [2])
    }

    @Test mutating func stepsThatOnlyTheShardsKnowKeepTheirRate() {
        cluster.start()
        cluster.commit(through: 5)
        cluster.restart(losing: 2)
        cluster.tell(.learningRate(.fixed(0.125)))
        returnOfTheShards(newest: 5)
        cluster.acknowledge("s0", "s1")
        cluster.beat("w0")
        #expect(cluster.machine.id.step == 6 && steps == [6])
        #expect(cluster.machine.learningRate(5) == 1 / 6 && rate == 0.125)
    }

    @Test mutating func stepsThatAreDoneAgainHaveTheSameRate() {
        cluster.start()
        cluster.tell(.checkpoint)
        cluster.commit()
        let number = cluster.task?.number ?? 0
        cluster.acknowledge("s0", "s1")
        cluster.tell(.checkpointWritten(number: number, problem: nil))
        cluster.tell(.learningRate(.fixed(0.5)))
        cluster.commit(through: 4)
        cluster.tell(.learningRate(.fixed(0.25)))
        cluster.commit(through: 6)
        #expect(steps == [2, 6])
        cluster.tell(.restore(checkpoint: nil, step: nil))
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.id.step == 1 && rate == 0.5, "the schedule has 1/2 for step 1")
        var rates: [Float] = []
        while cluster.machine.committed < 7 {
            rates.append(rate)
            cluster.commit()
        }
        #expect(rates == [0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25])
    }

    @Test mutating func whatIsSetAfterGoingBackReplacesWhatCameLater() {
        cluster.start()
        cluster.tell(.checkpoint)
        cluster.commit()
        let number = cluster.task?.number ?? 0
        cluster.acknowledge("s0", "s1")
        cluster.tell(.checkpointWritten(number: number, problem: nil))
        cluster.commit(through: 4)
        cluster.tell(.learningRate(.fixed(100)))
        cluster.commit(through: 6)
        #expect(steps == [6])
        cluster.tell(.restore(checkpoint: nil, step: nil))
        cluster.tell(.pause)
        cluster.acknowledge("s0", "s1")
        cluster.tell(.learningRate(.scaled(0.5)))
        cluster.tell(.resume)
        #expect(steps == [1])
        cluster.commit(through: 8)
        #expect(rate == 0.05)
    }

    @Test mutating func aFinishedRunHasNoStepLeft() {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 2))
        cluster.start()
        cluster.commit(through: 1)
        #expect(cluster.tell(.learningRate(.fixed(1))) == ["no: no step is left to do"])
    }

    @Test(arguments: [
        ("0.05", LearningRateRule.fixed(0.05)), ("0", .fixed(0)), ("1e-3", .fixed(0.001)), ("*0.1", .scaled(0.1)),
        ("*0", .scaled(0)), ("schedule", .schedule),
    ]) func rulesAreReadAndWritten(_ text: String, _ rule: LearningRateRule) throws {
        #expect(try LearningRateRule(text) == rule)
        #expect(try LearningRateRule(rule.description) == rule)
    }

    @Test(arguments: ["", "-0.1", "nan", "inf", "*nan", "*-1", "*", "0,1", "fast", "1e99", " 0.1", "0x1p-2", "*0x10"])
    func whatIsNoRateIsRefused(_ text: String) {
        #expect(throws: LearningRateRule.Invalid.self) { try LearningRateRule(text) }
    }

    /// Checkpoints and copies of the record have them as JSON, which may say anything.
    @Test func rulesOfFilesAreChecked() throws {
        for rule in [LearningRateRule.schedule, .scaled(0.5), .fixed(0.25)] {
            #expect(try JSONDecoder().decode(LearningRateRule.self, from: JSONEncoder().encode(rule)) == rule)
        }
        let written = String(decoding: try JSONEncoder().encode(LearningRateRule.fixed(0.25)), as: UTF8.self)
        #expect(written == #"{"fixed":{"_0":0.25}}"#, "as earlier versions wrote it")
        for text in [#"{"fixed":{"_0":-1}}"#, #"{"scaled":{"_0":-0.5}}"#, #"{"other":{}}"#] {
            #expect(throws: DecodingError.self) {
                try JSONDecoder().decode(LearningRateRule.self, from: Data(text.utf8))
            }
        }
    }

    @Test func aFactorNeverGivesInfinity() {
        #expect(LearningRateRule.scaled(.greatestFiniteMagnitude).rate(scheduled: 10).isFinite)
    }
}
