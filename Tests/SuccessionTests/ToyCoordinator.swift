internal import Succession

/// A coordinator of the simulation, with its disk.
final class ToyCoordinator {
    typealias Simulation = SuccessionSimulation
    typealias Leading = Replication<[Decision], Int>
    typealias Question = Leading.Question

    enum Decision: Hashable {
        case number(Int)
        case view(CoordinatorView)
        case witnesses(Set<Int>)
    }

    struct Record: Hashable {
        var numbers: [Int] = []
        var view = CoordinatorView()
        var witnesses: Set<Int> = []

        mutating func apply(_ decision: Decision) {
            switch decision {
            case .number(let number): numbers.append(number)
            case .view(let view): self.view = view
            case .witnesses(let witnesses): self.witnesses = witnesses
            }
        }
    }

    struct Disk {
        var identity: UInt64
        var record = Record()
        /// Whether it stands by for the other one.
        var follows: Bool
        /// The view in which it has handed over.
        var granted: CoordinatorView?
    }

    enum Mode {
        /// It was started with a standby in its record: has that one taken over?
        case contender(Leading)
        case leader(Leading)
        case follower(Follower)
    }

    var disk: Disk
    var mode: Mode?

    init(identity: UInt64, follows: Int? = nil) { disk = Disk(identity: identity, follows: follows != nil) }

    var situation: String {
        let name =
            switch mode {
            case .contender: "contender"
            case .leader(let leading): leading.mustWait ? "leader that waits" : "leader"
            case .follower(let follower): follower.isInView ? "standby" : "follower"
            case nil: "dead"
            }
        return "\(name) of view \(disk.record.view.number), \(disk.record.numbers.count) decisions"
    }

    func start(process: UInt64, _ simulation: Simulation) {
        let now = Duration.milliseconds(simulation.now)
        let lease = Duration.milliseconds(Simulation.lease)
        if disk.follows {
            mode = .follower(
                Follower(
                    disk.record.view, identity: disk.identity, process: process,
                    patience: lease, isAutomatic: simulation.isAutomatic, at: now))
            return
        }
        let leading = Leading(
            disk.record.view, identity: disk.identity, session: process,
            patience: lease, at: now)
        mode = disk.record.view.standby == nil ? .leader(leading) : .contender(leading)
    }

    // MARK: Leading

    /// Writes what is decided, and has it take effect when the standby has it.
    func decide(_ decision: Decision, witnesses: Set<Int>?, _ simulation: Simulation) -> [Int] {
        guard case .leader(var leading)? = mode else { return [] }
        var effects: [Int] = []
        write([decision] + (witnesses.map { [.witnesses($0)] } ?? []), &leading)
        if case .number(let number) = decision {
            if simulation.sabotage == .doesNotWait { effects.append(number) }
            leading.hold(number)
        }
        mode = .leader(leading)
        return effects
    }

    private func write(_ decisions: [Decision], _ leading: inout Leading) {
        for decision in decisions { disk.record.apply(decision) }
        leading.wrote(decisions, mustWait: true, view: disk.record.view)
    }

    // MARK: Following

    func poll(endpoint: String) -> Simulation.Message? {
        guard case .follower(var follower)? = mode else { return nil }
        let number = follower.ask()
        mode = .follower(follower)
        return .poll(
            number,
            Question(
                standby: .init(id: disk.identity, endpoint: endpoint), session: follower.session, have: follower.have,
                wantsToLead: follower.wantsToLead), granted: disk.granted)
    }

    // MARK: Messages

    func receive(
        _ message: Simulation.Message, from sender: Int, _ simulation: Simulation
    ) -> [Simulation.Message] {
        let now = Duration.milliseconds(simulation.now)
        switch (mode, message) {
        case (.leader(var leading)?, .poll(let number, let question, _)):
            if leading.objection(to: question) != nil { return [] }
            let answer = answer(question, &leading, now, simulation)
            if case .leader? = mode { mode = .leader(leading) }
            return answer.map { [.answer(number, $0)] } ?? []
        case (.follower(var follower)?, .answer(let number, let answer)):
            if follower.takes(answerTo: number) || simulation.sabotage == .takesOldAnswers {
                take(answer, &follower, now)
            }
            mode = .follower(follower)
            return []
        case (.contender?, .poll(let number, _, _)):
            // It is there and follows: it has not taken over.
            simulation.count("standby is there")
            mode = nil
            lead(process: simulation.drawProcess(), simulation)
            return [.answer(number, .nothing)]
        case (.follower(var follower)?, .poll(_, _, let granted?)):
            follower.handedOver(granted)
            mode = .follower(follower)
            return []
        case (.leader?, .whoLeads): return [.leads(view: disk.record.view.number)]
        case (.contender?, .leads(let view)):
            if view > disk.record.view.number {
                simulation.count("found the leader")
                follow(simulation)
            }
            return []
        case (.leader(var leading)?, .hello(let vote, let shard)):
            leading.hear(vote, from: shard)
            mode = .leader(leading)
            return [.reply(leading.question, isServed: true)]
        case (.contender(var leading)?, .hello(let vote, let shard)):
            leading.hear(vote, from: shard)
            mode = .contender(leading)
            return [.reply(leading.question, isServed: false)]
        case (.follower(var follower)?, .hello(let vote, let shard)):
            follower.hear(vote, from: shard)
            mode = .follower(follower)
            return [.reply(follower.question, isServed: false)]
        default: return []
        }
    }

    private func take(_ answer: Simulation.Answer, _ follower: inout Follower, _ now: Duration) {
        switch answer {
        case .everything(let session, let last, let record):
            disk.record = record
            disk.granted = nil
            follower.wrote(upTo: last, session: session, view: record.view, at: now)
        case .entries(let session, let entries):
            guard let first = entries.first, follower.fits(session: session, first: first.number) else { return }
            for decision in entries.flatMap(\.decisions) { disk.record.apply(decision) }
            follower.wrote(
                upTo: first.number + entries.count - 1, session: session, view: disk.record.view, at: now)
        case .nothing: follower.heard(at: now)
        case .handedOver(let view): follower.handedOver(view)
        }
    }

    private func answer(
        _ question: Question, _ leading: inout Leading, _ now: Duration, _ simulation: Simulation
    ) -> Simulation.Answer? {
        switch leading.answer(question, shards: disk.record.witnesses, at: now) {
        case .attach(let view):
            simulation.count("attached")
            write([.view(view)], &leading)
            return answer(question, &leading, now, simulation)
        case .everything(let last): return .everything(session: leading.session, upTo: last, record: disk.record)
        case .entries(let entries):
            return .entries(session: leading.session, entries.map { ($0.number, $0.decisions) })
        case .nothing: return .nothing
        case .handOver(let view):
            simulation.count("handed over")
            handOver(view, simulation)
            return .handedOver(view)
        }
    }

    /// The other one leads in this view.
    private func handOver(_ view: CoordinatorView, _ simulation: Simulation) {
        disk.granted = view
        follow(simulation)
    }

    private func follow(_ simulation: Simulation) {
        disk.follows = true
        start(process: simulation.drawProcess(), simulation)
    }

    private func lead(process: UInt64, _ simulation: Simulation) {
        let now = Duration.milliseconds(simulation.now)
        mode = .leader(
            Leading(
                disk.record.view, identity: disk.identity, session: process,
                patience: .milliseconds(Simulation.lease), at: now))
    }

    /// Looks how it stands; returns what takes effect.
    func advance(process: UInt64, chance: Double, _ simulation: Simulation) -> [Int] {
        let now = Duration.milliseconds(simulation.now)
        switch mode {
        case .leader(var leading)?:
            let outcome = leading.outcome(at: now, chance: chance)
            mode = .leader(leading)
            settle(outcome, isContender: false, process, simulation)
            guard case .leader(var leading)? = mode else { return [] }
            let effects = leading.release()
            if var view = leading.change(voters: disk.record.witnesses) {
                simulation.count("voters changed")
                if simulation.sabotage == .changesVotersAtOnce { view.voters = view.voters.suffix(1) }
                write([.view(view)], &leading)
            }
            mode = .leader(leading)
            return effects
        case .contender(var leading)?:
            let outcome = leading.outcome(at: now, chance: chance)
            mode = .contender(leading)
            settle(outcome, isContender: true, process, simulation)
        case .follower(var follower)?:
            let outcome = follower.outcome(at: now, chance: chance)
            mode = .follower(follower)
            switch outcome {
            case .follows: break
            case .isOutdated: simulation.count("behind")
            case .leads(let view):
                simulation.count("took over")
                begin(CoordinatorView(number: view.number), process, simulation)
            }
            if simulation.sabotage == .takesOverWithoutMajority, follower.question != nil {
                begin(CoordinatorView(number: disk.record.view.number + 1), process, simulation)
            }
        case nil: break
        }
        return []
    }

    private func begin(_ view: CoordinatorView, _ process: UInt64, _ simulation: Simulation) {
        disk.record.apply(.view(view))
        (disk.follows, disk.granted) = (false, nil)
        simulation.note("coordinator \(disk.identity) leads in view \(view.number)")
        lead(process: process, simulation)
    }

    private func settle(
        _ outcome: Leading.Outcome, isContender: Bool, _ process: UInt64, _ simulation: Simulation
    ) {
        switch outcome {
        case .leads: break
        case .alone(let view):
            simulation.count("went on alone")
            simulation.note("coordinator \(disk.identity) goes on alone in view \(view.number)")
            if isContender { return begin(view, process, simulation) }
            guard case .leader(var leading)? = mode else { return }
            write([.view(view)], &leading)
            mode = .leader(leading)
        case .superseded(let view):
            simulation.count("superseded")
            simulation.note("coordinator \(disk.identity): the other leads in view \(view.number)")
            handOver(view, simulation)
        case .isOutdated:
            simulation.count("outdated")
            simulation.note("coordinator \(disk.identity) is outdated")
            follow(simulation)
        case .isolated where simulation.sabotage == .goesOnAlone:
            begin(CoordinatorView(number: disk.record.view.number + 1), process, simulation)
        case .isolated:
            simulation.count("isolated")
            start(process: process, simulation)
        }
    }
}
