internal import Cluster
internal import StepProtocol
import TestSupport
import Testing

/// What a shard decides besides its steps, one test each.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ShardSessionTests {
    typealias Session = ShardSession<Int, String, String>

    private var session = Session(.init(state: ShardState()), directory: .init(), empty: "")

    /// Gives the event to the session and returns its actions as words, without those of the machines and what it says.
    @discardableResult
    private mutating func tell(_ event: Session.Event, at seconds: Int = 0) -> [String] {
        session.handle(event, at: .seconds(seconds)).compactMap { action in
            switch action {
            case .step, .copy(.ask), .copy(.storeChunk), .copy(.replay), .copy(.complete), .keep, .say: nil
            case .copy(.drop(let slice)): "drop \(slice)"
            case .greet: "greet"
            case .introduce: "introduce"
            case .prepare: "prepare"
            case .rename(let member): "rename \(member)"
            case .beat: "beat"
            case .follow(let plan): "follow \(plan.id)"
            case .askForClasses: "ask for classes"
            case .adoptClasses: "adopt classes"
            case .askToDrain: "ask to drain"
            case .askToStay: "ask to stay"
            case .note(let isGoing): isGoing ? "note that it goes" : "note that it stays"
            case .giveUp: "give up"
            case .leave(let member, let reason, _): "leave as \(member): \(reason)"
            case .end(let code): "end \(code)"
            }
        }
    }

    private func welcome(_ number: Int = 0, cluster: String = "c") -> Session.Event {
        .welcomed(cluster: cluster, MemberID(.shard, number))
    }

    private func plan(
        _ step: Int, term: Int = 1, classes: Int = 0, revision: Int? = nil, moves: [SliceMove] = [], shards: Int = 1,
        _ activity: Plan.Activity = .train
    ) -> Plan {
        var plan = Plan.test(
            id: step, shards: shards, activity: activity, term: term, revision: revision, moves: moves)
        plan.classVersion = classes
        return plan
    }

    private mutating func join(_ number: Int = 0) {
        tell(welcome(number))
        tell(.prepared(.init(microBatchCount: 4)))
    }

    private func state(
        hasSlices: Bool = true, newest: Int = -1, logsSteps: Bool = true, lastTask: Int = 0
    ) -> ShardState {
        ShardState(
            newest: newest, logsSteps: logsSteps, hasSlices: hasSlices, holdings: ShardHoldings(lastTask: lastTask))
    }

    // MARK: Joining

    @Test mutating func itPreparesOnceAndThenTakesPart() {
        #expect(tell(welcome()) == ["introduce", "beat", "prepare"])
        #expect(tell(.plan(plan(0))) == [], "what it holds is not loaded yet")
        #expect(tell(.prepared(.init(microBatchCount: 4))) == ["introduce", "beat", "follow step 0"])
        #expect(tell(welcome()) == ["introduce", "beat"], "the same machine goes on")
        #expect(session.introduction.cluster == "c")
        #expect(session.introduction.previousNumber == 0)
        #expect(session.introduction.term == 1)
    }

    @Test mutating func itJoinsAgainWhenItWasTakenForDead() {
        join()
        #expect(tell(.refused(.malformed)) == [])
        #expect(tell(.refused(.incarnation)) == ["greet"])
        #expect(tell(.plan(plan(0))) == [], "the plan may be about the number that it gets")
        #expect(tell(welcome()) == ["introduce", "beat"])
        #expect(tell(.plan(plan(0))) == ["introduce", "follow step 0"])
    }

    @Test mutating func underAnotherNumberItBeginsWithNothing() {
        let move = SliceMove(slice: .centers(3), from: MemberID(.shard, 0), to: MemberID(.shard, 7))
        join(7)
        tell(.plan(plan(3, moves: [move])))
        #expect(session.machine?.committed == 2)
        #expect(tell(welcome(8)) == ["introduce", "rename shard-8", "drop slice 3", "beat"])
        #expect(session.machine?.member == MemberID(.shard, 8))
        #expect(session.machine?.committed == -1)
    }

    @Test mutating func itHoldsAPartOfOneClusterOnly() {
        join()
        #expect(tell(welcome(cluster: "other")) == ["end 70"])
        #expect(tell(welcome()) == [])
    }

    @Test mutating func whatItSaysIsNotOlderThanWhatItWasTold() {
        let holder = state(newest: 2, logsSteps: false, lastTask: 3)
        session = Session(.init(state: holder), directory: nil, empty: "")
        tell(welcome())
        tell(.holds(holder, classVersion: 0))
        tell(.prepared(.init(microBatchCount: 4, committed: 2, prepared: StepID(term: 1, step: 3, attempt: 0))))
        var next = plan(4)
        next.committedID = StepID(term: 1, step: 3, attempt: 0)
        #expect(tell(.plan(next)).first == "introduce")
        #expect(session.introduction.state.oldest == 3, "it cannot go back before what it commits now")
    }

    // MARK: Classes

    @Test mutating func itTakesPartOnceItKnowsTheClasses() {
        join()
        #expect(tell(.plan(plan(0, classes: 2))) == ["ask for classes"])
        #expect(tell(.classes(version: 1)) == [], "others than those of the plan")
        #expect(tell(.classes(version: 2)) == ["adopt classes"])
        #expect(tell(.plan(plan(0, classes: 2, revision: 1))) == [], "they are being taken over")
        tell(.holds(state(hasSlices: false), classVersion: 2))
        #expect(tell(.classesAdopted) == ["introduce", "follow step 0"])
        #expect(tell(.plan(plan(1, classes: 2))) == ["follow step 1"])
        #expect(tell(.plan(plan(1, term: 2, classes: 2))) == ["ask for classes"], "they may be others after going back")
    }

    @Test mutating func whoeverHasSlicesDoesNotAsk() {
        tell(.holds(state(), classVersion: 0))
        join()
        #expect(tell(.plan(plan(0, classes: 2))) == ["introduce", "follow step 0"])
    }

    // MARK: Going

    @Test mutating func itHandsItsSlicesOverFirst() {
        join()
        tell(.plan(plan(0, shards: 2)))
        #expect(tell(.stop(reason: "SIGTERM", mayDrain: true)) == ["ask to drain"])
        #expect(tell(.answered(isAccepted: true, text: "")) == ["note that it goes"])
        #expect(tell(.refused(.drained)) == ["note that it goes", "give up"])
        #expect(session.nextDeadline == nil)
        #expect(tell(.plan(plan(1, shards: 2))) == [], "nothing else counts any more")
        #expect(tell(.gaveUp(problem: nil)) == ["note that it stays", "end 0"])
    }

    @Test mutating func aSecondSignalEndsItAtOnce() {
        join()
        tell(.plan(plan(0, shards: 2)))
        tell(.stop(reason: "SIGTERM", mayDrain: true))
        tell(.answered(isAccepted: true, text: ""))
        #expect(tell(.stop(reason: "SIGTERM", mayDrain: true)) == ["leave as shard-0: SIGTERM", "end 0"])
    }

    @Test mutating func itDoesNotWaitLongForAnAnswer() {
        join()
        tell(.plan(plan(0, shards: 2)))
        tell(.stop(reason: "SIGTERM", mayDrain: true), at: 10)
        #expect(session.nextDeadline == .seconds(12))
        #expect(tell(.tick, at: 11) == [])
        #expect(tell(.tick, at: 12) == ["leave as shard-0: the coordinator does not answer", "end 0"])
    }

    @Test(arguments: [Plan.Activity.finished, .failed(reason: "")])
    mutating func whatIsOverIsLeftAtOnce(_ activity: Plan.Activity) {
        join()
        tell(.plan(plan(0, activity)))
        #expect(tell(.stop(reason: "SIGTERM", mayDrain: true)) == ["leave as shard-0: SIGTERM", "end 0"])
    }

    @Test mutating func whoWasKilledOnItsWayOutStays() {
        session = Session(
            .init(previousNumber: 3, state: state()),
            directory: .init(holdsSlices: true, ownsSlices: true, isGoing: true), empty: "")
        #expect(tell(welcome(3)) == ["introduce", "ask to stay", "beat", "prepare"])
        #expect(tell(.answered(isAccepted: false, text: "it is not being drained")) == ["note that it stays"])
        #expect(tell(welcome(3)) == ["introduce", "beat"])
    }

    @Test mutating func itBeginsAnewWithoutWhatOthersHave() {
        session = Session(
            .init(previousNumber: 3, state: state()), directory: .init(holdsSlices: true), empty: "")
        #expect(tell(.turnedAway(.stateLost, message: "shard-3 is not a member")) == ["give up"])
        tell(.holds(state(hasSlices: false), classVersion: 0))
        #expect(tell(.gaveUp(problem: nil)) == ["note that it stays", "greet"])
        #expect(tell(.turnedAway(.stateLost, message: "shard-3 is not a member")) == ["end 77"], "once")
    }

    @Test mutating func whatMayBeNowhereElseIsNotThrownAway() {
        session = Session(
            .init(previousNumber: 3, state: state()), directory: .init(holdsSlices: true, ownsSlices: true), empty: "")
        #expect(tell(.turnedAway(.stateLost, message: "shard-3 is not a member")) == ["end 77"])
    }

    // MARK: Reports

    @Test mutating func theLastStepIsReportedAtOnce() {
        #expect(session.report(durable: -1, obstacle: "", at: .zero) == nil)
        join()
        tell(.plan(plan(5, shards: 1)))
        #expect(session.report(durable: 9, obstacle: "", at: .zero)?.durable == session.machine?.committed)
    }
}
