internal import Cluster
internal import Foundation
internal import StepProtocol
import TestSupport
import Testing

/// Which steps have the values of the head that an operator has set. The fixture's schedule has sample rate 0.1 before step 5, and 1
/// from there on.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct CoordinatorMachineHeadTests {
    private var cluster = CoordinatorFixture(
        CoordinatorFixture.configuration(steps: 100) { $0.checkpointDirectory = "/c" })

    private var head: HeadValues? { cluster.machine.plan.head }
    private var steps: [Int?] { cluster.machine.headChanges.map(\.fromStep) }

    private func order(_ text: String) throws -> CoordinatorMachine.Event { .head(try HeadOrder(text)) }

    /// What holds now of what operators have set, and since when.
    @Test func whatIsInForce() throws {
        let changes = try [
            (2, "m2=0.25 sample_rate=0.5"), (5, "m2=0.3 scale=32"), (7, "scale=schedule"), (9, "m3=0.1"),
        ].map {
            HeadChange(fromStep: $0.0, order: try HeadOrder($0.1))
        }
        func texts(at step: Int, _ changes: [HeadChange]) -> [String] {
            changes.inForce(at: step).map { "\($0.order) \($0.fromStep.map { "\($0)" } ?? "-")" }
        }
        #expect(texts(at: 1, changes) == [])
        #expect(texts(at: 4, changes) == ["sample_rate=0.5 m2=0.25 2"])
        #expect(texts(at: 6, changes) == ["sample_rate=0.5 2", "m2=0.3 scale=32 5"])
        #expect(texts(at: 8, changes) == ["sample_rate=0.5 2", "m2=0.3 5"])
        let waiting = changes + [HeadChange(fromStep: nil, order: try HeadOrder("m2=schedule"))]
        #expect(texts(at: 9, waiting) == ["sample_rate=0.5 2", "m2=0.3 5", "m3=0.1 9", "m2=schedule -"])
    }

    @Test mutating func plansSayWhatTheScheduleHas() {
        cluster.start()
        #expect(head?.sampleRate == 0.1 && head?.scale == 64)
        cluster.commit(through: 4)
        #expect(cluster.machine.id.step == 5 && head?.sampleRate == 1)
    }

    @Test mutating func aStepThatHasBegunKeepsItsValues() throws {
        cluster.start()
        cluster.commit(through: 2)
        #expect(cluster.tell(try order("m2=0.25")) == [])
        #expect(head?.m2 == 0.5 && steps == [nil])
        // What comes before the step begins is one order.
        cluster.tell(try order("sample_rate=0.5"))
        #expect(steps == [nil])
        cluster.tell(.left(MemberID(.worker, 0), incarnation: 0))
        cluster.join("w1")
        #expect(cluster.machine.id.attempt == 1 && head?.m2 == 0.5 && head?.sampleRate == 0.1)
        cluster.commit()
        #expect(head?.m2 == 0.25 && head?.sampleRate == 0.5 && steps == [4])
        #expect(
            cluster.decisions == [
                .committed(StepID(term: 1, step: 3, attempt: 1)),
                .head([.init(fromStep: 4, order: try HeadOrder("m2=0.25 sample_rate=0.5"))]),
            ])
        cluster.commit(through: 20)
        #expect(head?.sampleRate == 0.5)
    }

    @Test mutating func whatIsNotNamedStaysAsItWas() throws {
        cluster.start()
        cluster.tell(.pause)
        cluster.commit()
        cluster.tell(try order("m2=0.25"))
        cluster.tell(try order("scale=32"))
        #expect(steps == [1] && head?.m2 == 0.25 && head?.scale == 32)
        cluster.tell(.resume)
        cluster.commit(through: 3)
        cluster.tell(try order("m2=schedule"))
        cluster.commit(through: 7)
        // The schedule's stage comes as it would have.
        #expect(steps == [1, 5] && head?.m2 == 0.5 && head?.scale == 32 && head?.sampleRate == 1)
    }

    @Test mutating func itBeginsWithTheSameStepAsARateThatIsOrderedWithIt() throws {
        cluster.start()
        cluster.commit(through: 2)
        cluster.tell(.learningRate(.fixed(0.125)))
        cluster.tell(try order("m3=0.25"))
        cluster.commit()
        #expect(cluster.machine.plan.learningRate == 0.125 && head?.m3 == 0.25)
        #expect(cluster.machine.rates.map(\.fromStep) == [4] && steps == [4])
    }

    @Test mutating func afterARestartAttemptsOfTheStepAreForgottenFirst() throws {
        cluster.start()
        cluster.commit(through: 1)
        cluster.restart()
        cluster.tell(.pause)
        cluster.tell(try order("m2=0.25"))
        for shard in ["s0", "s1"] { cluster.join(shard, state: CoordinatorFixture.holding(1)) }
        cluster.beat("w0")
        #expect(cluster.waits == "paused after step 1" && steps == [nil])
        cluster.tell(.resume)
        #expect(cluster.task?.kind == .restore(checkpoint: nil) && cluster.task?.step == 1)
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.id.step == 2 && head?.m2 == 0.25 && steps == [2])
    }

    @Test mutating func stepsThatAreDoneAgainHaveTheSameValues() throws {
        cluster.start()
        cluster.takeCheckpoint()
        cluster.tell(try order("m2=0.25"))
        cluster.commit(through: 4)
        cluster.tell(try order("m2=0.125"))
        cluster.commit(through: 6)
        #expect(steps == [2, 6])
        cluster.tell(.restore(checkpoint: nil, step: nil))
        cluster.acknowledge("s0", "s1")
        #expect(cluster.machine.id.step == 1)
        var values: [Double?] = []
        while cluster.machine.committed < 7 {
            values.append(head?.m2)
            cluster.commit()
        }
        #expect(values == [0.5, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125])
    }

    /// Of what was set for later steps the rest stays: who sets one value does not lose another.
    @Test mutating func whatIsSetAfterGoingBackReplacesThatOfLaterSteps() throws {
        cluster.start()
        cluster.takeCheckpoint()
        cluster.commit(through: 4)
        cluster.tell(try order("scale=16 m2=0.125"))
        cluster.commit(through: 6)
        #expect(steps == [6])
        cluster.tell(.restore(checkpoint: nil, step: nil))
        cluster.tell(.pause)
        cluster.acknowledge("s0", "s1")
        cluster.tell(try order("m2=0.25"))
        cluster.tell(.resume)
        #expect(steps == [1, 6])
        cluster.commit(through: 3)
        #expect(head?.m2 == 0.25 && head?.scale == 64)
        cluster.commit(through: 8)
        #expect(head?.m2 == 0.25 && head?.scale == 16)
    }

    @Test mutating func copiesOfTheRecordHaveIt() throws {
        cluster.start()
        let before = try JSONEncoder().encode(cluster.database)
        #expect(!String(decoding: before, as: UTF8.self).contains("ead"), "as those of earlier versions")
        cluster.tell(.pause)
        cluster.commit()
        cluster.tell(try order("m2=0.25 scale=schedule"))
        let copy = try JSONDecoder().decode(CoordinatorRecord.self, from: JSONEncoder().encode(cluster.database))
        #expect(copy == cluster.database && copy.headChanges.map(\.fromStep) == [1])
        #expect(try JSONDecoder().decode(CoordinatorRecord.self, from: before).headChanges.isEmpty)
    }

    @Test mutating func aFinishedRunHasNoStepLeft() throws {
        cluster = CoordinatorFixture(CoordinatorFixture.configuration(steps: 2))
        cluster.start()
        cluster.commit(through: 1)
        #expect(cluster.tell(try order("m2=1")) == ["no: no step is left to do"])
    }

    @Test(arguments: [
        ("sample_rate=0", "sample_rate=0"), ("m2=0.2", "m2=0.2"), ("scale=32.5 m1=schedule", "m1=schedule scale=32.5"),
        ("m3=1e-1 sample_rate=0.29", "sample_rate=0.29 m3=0.1"), ("m2=1 m2=0.25", "m2=0.25"),
        ("interclass_filter=0.4", "interclass_filter=0.4"),
    ]) func ordersAreReadAndWritten(_ text: String, _ written: String) throws {
        let order = try HeadOrder(text)
        #expect(order.description == written)
        #expect(try HeadOrder(order.description) == order)
    }

    @Test func anOrderContainsWhatItSays() throws {
        let order = try HeadOrder("m2=0.25 scale=schedule")
        #expect(try order.contains(HeadOrder("m2=0.25")) && order.contains(order))
        #expect(try !order.contains(HeadOrder("m2=0.5")) && !order.contains(HeadOrder("m2=0.25 m3=0")))
        #expect(try order.without(HeadOrder("m2=0.5")) == HeadOrder("scale=schedule") && order.without(order) == nil)
    }

    /// As a configuration does: 0.2 in single precision is another number than in double.
    @Test func numbersAreThoseOfAConfiguration() throws {
        #expect(try HeadOrder("m2=0.2").rules == [.m2: .fixed(Double(Float(0.2)))])
        #expect(try HeadOrder("sample_rate=0.2").rules == [.sampleRate: .fixed(0.2)])
    }

    @Test(arguments: [
        "", "m2", "m2=", "m4=1", "m2=nan", "m2=inf", "m2=*0.5", "sample_rate=1.01", "sample_rate=-0.1", "scale=0",
        "scale=301", "m1=0", "m2=101", "m3=-101", "interclass_filter=1.5", "m2=0,5", "lr=1", "m2=0x1",
    ])
    func whatIsNoOrderIsRefused(_ text: String) {
        #expect(throws: HeadOrder.Invalid.self) { try HeadOrder(text) }
    }
}
