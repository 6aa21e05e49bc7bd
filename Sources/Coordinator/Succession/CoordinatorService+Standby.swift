import Cluster
import Configuration
import CoordinatorStore
import Logging
import NetworkAddress
import OperatorStatus
import Setup
import StepProtocol
import Succession
import Wire

/// The standby of a coordinator that decides: it has every decision before anybody hears of it.
extension CoordinatorService {
    /// Why `run` has returned.
    enum Ending {
        case stopped
        /// Neither the standby nor a majority of the shards can be reached: who decides is to be found out anew.
        case isolated
        /// Another coordinator decides.
        case follows(String)
    }

    /// How long a standby's question waits for something new.
    private static let pollPatience = Duration.milliseconds(200)

    /// Numbers of the shards that vote: they have a directory, and stay.
    var voters: Set<Int> { machine.record.voters }

    /// Whether the standby has been silent for so long that it may have taken over.
    var hasLostStandby: Bool {
        replication.silence(at: now).map { $0 >= .seconds(setup.configuration.cluster.leaseSeconds) } ?? false
    }

    // MARK: Decisions

    /// Something is on this disk.
    func noteWritten(_ written: Written, mustWait: Bool) {
        replication.wrote(written, mustWait: mustWait, view: machine.record.view)
        answerPoll(isLate: false)
        if !replication.mustWait { releaseHeld() }
    }

    /// What is fixed when a cluster is made has changed.
    func noteClusterChanged() {
        copies.isOutdated = true
        noteWritten(.cluster(StoredCopy(cluster, CoordinatorRecord(), number: 0)), mustWait: true)
    }

    /// Whether an action waits until the standby has what was decided.
    func waits(_ action: Machine.Action) -> Bool {
        switch action {
        case .persist, .committed, .event, .refuseOperator: false
        case .welcome, .refuse, .dismiss, .send, .writeCheckpoint, .abandonCheckpoint, .deleteCheckpoint, .finished,
            .failed:
            replication.mustWait
        }
    }

    private func releaseHeld() {
        for held in replication.release() {
            switch held {
            case .action(let action, let question, let hello):
                if case .welcome(let peer, _) = action, let hello { hellos = [peer: hello] }
                carryOut(action, answering: question)
            case .reply(let reply, let peer, let request): self.reply(reply, to: peer, request)
            }
        }
    }

    // MARK: Questions of the standby

    func hear(_ command: OperatorRequest, from peer: PeerID, _ request: UInt64) {
        guard let asked = ReplicationQuestion(command.arguments) else {
            server.refuse(peer, request: request, Refusal(.malformed, "these are not the arguments of replicate"))
            return
        }
        // It has not heard that this one decides: what comes now tells it.
        guard blocked == nil else {
            deliver(ReplicationReply(session: replication.session), to: peer, request)
            return
        }
        // It leaves the standby's question alone.
        if let objection = replication.objection(to: asked.question) {
            server.refuse(peer, request: request, Refusal(.busy, objection))
            return
        }
        // One that was asked before is answered: a peer has one question at a time.
        if let old = poll { deliver(ReplicationReply(session: replication.session), to: old.peer, old.request) }
        poll = Poll(question: asked.question, peer: peer, request: request, until: .now + Self.pollPatience)
        answerPoll(isLate: false)
        releaseHeld()
    }

    /// Answers the standby if there is something to say, or it has waited long enough.
    func answerPoll(isLate: Bool) {
        guard let poll, blocked == nil else { return }
        var reply = ReplicationReply(session: replication.session)
        switch replication.answer(poll.question, shards: voters, at: now) {
        case .attach(let view):
            self.poll = nil
            note(
                .info,
                "\(poll.question.standby.endpoint) stands by: every decision is written there too (view \(view.number))"
            )
            perform(machine.handle(.view(view), at: now))
            self.poll = poll
            return answerPoll(isLate: isLate)
        case .everything(let last):
            reply.everything = StoredCopy(cluster, machine.record, number: 0)
            reply.upTo = last
        case .entries(let entries):
            reply.entries = entries.prefix(ReplicationReply.entryLimit).map {
                .init(number: $0.number, written: $0.decisions)
            }
        case .nothing:
            guard isLate || poll.until <= .now else { return }
        case .handOver(let view):
            self.poll = nil
            return handOver(view, to: poll)
        }
        self.poll = nil
        deliver(reply, to: poll.peer, poll.request)
    }

    private func deliver(_ reply: ReplicationReply, to peer: PeerID, _ request: UInt64) {
        guard let reply = reply.reply else { return }
        deliver(.operatorReply(reply), to: peer, request: request)
    }

    private func handOver(_ view: CoordinatorView, to poll: Poll) {
        note(.warning, "handing over to \(poll.question.standby.endpoint), as an operator has ordered")
        do { try store.follow(poll.question.standby.endpoint, granted: view) } catch {
            note(.error, "\(error): not handed over")
            return
        }
        var reply = ReplicationReply(session: replication.session)
        reply.handedOver = view
        deliver(reply, to: poll.peer, poll.request)
        sendAway("\(poll.question.standby.endpoint) takes over")
        ending = .follows(poll.question.standby.endpoint)
    }

    /// Has members look for the other coordinator.
    private func sendAway(_ reason: String) {
        for member in members.values {
            server.send(.standingBy(StandingBy(message: reason)), to: member.peer)
        }
    }

    // MARK: Without the standby

    /// Looks how this coordinator and its standby stand; to be called at every turn.
    func tendStandby() {
        if replication.view.standby == nil || blocked != nil { return }
        answerPoll(isLate: false)
        noteSilence()
        switch replication.outcome(at: now, chance: .random(in: 0..<1)) {
        case .leads:
            if let view = replication.change(voters: voters) { perform(machine.handle(.view(view), at: now)) }
        case .alone(let view):
            let standby = replication.view.standby?.endpoint ?? ""
            note(
                .warning,
                "the standby \(standby) is silent, and the shards agree that this coordinator goes on alone (view \(view.number)): "
                    + "that one cannot take over before it is in step again")
            perform(machine.handle(.view(view), at: now))
            releaseHeld()
        case .superseded(let view):
            let standby = replication.view.standby?.endpoint ?? ""
            log.warning("the shards have agreed that \(standby) decides: this coordinator stands by for it")
            do { try store.follow(standby, granted: view) } catch {
                log.error("\(error)")
                return
            }
            sendAway("\(standby) takes over")
            ending = .follows(standby)
        case .isOutdated:
            guard let standby = replication.view.standby?.endpoint else { return }
            log.warning("the shards know of a later coordinator: this one stands by for \(standby)")
            do { try store.follow(standby) } catch {
                log.error("\(error)")
                return
            }
            sendAway("another coordinator has taken over")
            ending = .follows(standby)
        case .isolated:
            log.warning(
                "neither the standby \(replication.view.standby?.endpoint ?? "") nor a majority of the shard servers can be reached: nothing is decided here any more"
            )
            sendAway("it cannot reach its standby")
            ending = .isolated
        }
    }

    private func noteSilence() {
        let isSilent = replication.question != nil
        guard isSilent != saidSilent else { return }
        saidSilent = isSilent
        guard isSilent, let standby = replication.view.standby else { return }
        note(
            .warning,
            "the standby \(standby.endpoint) is silent: decisions wait until a majority of the shard servers has agreed that this coordinator goes on alone"
        )
    }

    /// A shard that is not let in while decisions wait is asked all the same. Returns whether the hello is answered by that.
    func askForVote(_ hello: Hello, _ peer: PeerID, _ request: UInt64) -> Bool {
        guard let question = replication.question, hello.role == .shard else { return false }
        if let number = machine.record.voter(hello, of: cluster.id), let vote = hello.vote {
            replication.hear(vote, from: number)
        }
        server.send(
            .standingBy(StandingBy(message: "it asks whether it goes on without its standby", question: question)),
            to: peer, request: request)
        return true
    }

    /// A question that waits for something new.
    struct Poll {
        var question: StandbyReplication.Question
        var peer: PeerID
        var request: UInt64
        var until: ContinuousClock.Instant
    }
}

extension CoordinatorRecord {
    /// Numbers of the shards that vote on who decides: they have a directory, and stay.
    var voters: Set<Int> {
        Set(
            members.filter { $0.key.role == .shard && $0.value.directory != 0 && !$0.value.isDraining }.map(
                \.key.number))
    }

    /// The number of the shard that says this hello, if it is one that votes.
    func voter(_ hello: Hello, of cluster: String) -> Int? {
        guard hello.role == .shard, hello.clusterID == cluster, hello.previousNumber >= 0,
            let known = members[MemberID(.shard, hello.previousNumber)],
            hello.state?.holdings?.identity == known.directory
        else { return nil }
        return hello.previousNumber
    }
}
