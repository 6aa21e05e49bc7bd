internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// What a worker decides besides its steps, one test each.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct WorkerSessionTests {
    typealias Session = WorkerSession<String>

    private var session = Session(empty: "")

    /// Gives the event to the session and returns its actions as words, without those of the machine and what it says.
    @discardableResult
    private mutating func tell(_ event: Session.Event) -> [String] {
        session.handle(event, at: .zero).compactMap { action in
            switch action {
            case .step, .say: nil
            case .greet: "greet"
            case .introduce: "introduce"
            case .prepare: "prepare"
            case .beat: "beat"
            case .disconnect: "disconnect"
            case .follow(let plan): "follow \(plan.id)"
            case .askForClasses: "ask for classes"
            case .adoptClasses(let version, _): "adopt classes \(version)"
            case .leave(let member, let reason, _): "leave as \(member): \(reason)"
            case .end(let code): "end \(code)"
            }
        }
    }

    private func welcome(
        _ number: Int = 0, cluster: String = "c", committed: Int = -1, hasCheckpoint: Bool = false
    ) -> Session.Event {
        let member = MemberID(.worker, number)
        return .welcomed(
            .init(cluster: cluster, member: member, committed: committed, hasCheckpoint: hasCheckpoint))
    }

    private func plan(
        _ step: Int, term: Int = 1, classes: Int = 0, revision: Int? = nil, _ activity: Plan.Activity = .train
    ) -> Plan {
        var plan = Plan.test(id: step, shards: 1, activity: activity, term: term, revision: revision)
        plan.classVersion = classes
        return plan
    }

    private mutating func join() {
        tell(welcome())
        tell(.prepared(problem: nil))
    }

    @Test mutating func itPreparesOnceAndThenTakesPart() {
        #expect(tell(welcome()) == ["prepare"])
        #expect(session.machine == nil)
        #expect(tell(.prepared(problem: nil)) == ["disconnect", "introduce", "beat"])
        #expect(session.introduction.cluster == "c")
        #expect(session.introduction.previousNumber == 0)
        #expect(tell(.plan(plan(0))) == ["introduce", "follow step 0"])
        #expect(tell(welcome()) == ["introduce", "beat"], "the same machine goes on")
    }

    @Test mutating func whatCannotBePreparedEndsIt() {
        tell(welcome())
        #expect(tell(.prepared(problem: "no data")) == ["leave as worker-0: no data", "end 78"])
        #expect(tell(.plan(plan(0))) == [], "it is over")
    }

    @Test mutating func whoWasTakenForDeadJoinsAgain() {
        join()
        #expect(tell(.refused(.notWelcomed)) == ["greet"])
        #expect(!session.isWelcome)
        #expect(tell(.refused(.malformed)) == [])
        #expect(tell(welcome(3)) == ["disconnect", "introduce", "beat"], "shards know it by another number")
        #expect(session.machine?.member == MemberID(.worker, 3))
    }

    @Test mutating func anotherClusterEndsIt() {
        join()
        #expect(tell(welcome(cluster: "d")) == ["end 70"], "without a word to it")
    }

    @Test mutating func aRunThatMustBeResumedIsNotBegun() {
        session = Session(mustResume: true, empty: "")
        #expect(tell(welcome()).last == "end 78")
        session = Session(mustResume: true, empty: "")
        #expect(tell(welcome(committed: 5)) == ["prepare"])
        session = Session(mustResume: true, empty: "")
        #expect(tell(welcome(hasCheckpoint: true)) == ["prepare"])
    }

    @Test mutating func aPlanWithOtherClassesWaitsForThem() {
        join()
        #expect(tell(.plan(plan(4, classes: 2))) == ["introduce", "ask for classes"])
        #expect(tell(.plan(plan(3, classes: 0))) == [], "an older plan")
        #expect(tell(.classes(version: 1)) == [], "an old answer")
        #expect(tell(.classes(version: 2)) == ["adopt classes 2", "follow step 4"])
        #expect(tell(.classes(version: 2)) == [])
        #expect(tell(.plan(plan(5, classes: 2))) == ["follow step 5"])
        // After going back, operations of the same number may be others.
        #expect(tell(.plan(plan(3, term: 2, classes: 2))) == ["introduce", "ask for classes"])
    }

    @Test mutating func itGoesWhenTheRunIsOver() {
        join()
        #expect(tell(.plan(plan(9, .finished))).suffix(2) == ["leave as worker-0: the run is finished", "end 0"])
        session = Session(empty: "")
        join()
        #expect(tell(.plan(plan(9, .failed(reason: "x")))).last == "end 1")
    }

    @Test mutating func itsExitCodeSaysWhatBecameOfTheResults() {
        join()
        tell(.plan(plan(9, .finishing(writer: MemberID(.worker, 0)))))
        #expect(tell(.stop(reason: "told to")) == ["leave as worker-0: told to", "end 75"])
        session = Session(empty: "")
        join()
        tell(.plan(plan(9, .finishing(writer: MemberID(.worker, 0)))))
        tell(.step(.resultsWritten(StepID(term: 1, step: 9, attempt: 0), problem: "the disk is full")))
        #expect(tell(.stop(reason: "told to")).last == "end 74")
        session = Session(empty: "")
        join()
        tell(.plan(plan(9, .finishing(writer: MemberID(.worker, 1)))))
        #expect(tell(.stop(reason: "told to")).last == "end 0")
    }

    @Test mutating func aPlanThatDoesNotFitEndsIt() {
        join()
        #expect(tell(.plan(plan(0), misfit: "micro-batches")).last == "end 70")
    }
}
