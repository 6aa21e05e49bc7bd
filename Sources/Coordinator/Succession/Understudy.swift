import Cluster
import Configuration
import CoordinatorStore
import Foundation
import Logging
import Monitoring
import NetworkAddress
import ParameterStore
import StepProtocol
import Succession
import Wire

/// A coordinator that does not decide: a standby, or one that was started with a standby in its record and asks who decides.
///
/// Members that come are sent on to the other one; shards are asked for their votes where that is needed.
final class Understudy {
    enum Ending {
        case stopped
        /// This coordinator decides.
        case leads
        /// Another coordinator decides.
        case follows(String)
    }

    /// What it does.
    enum Part {
        /// It stands by.
        case follower(Follower)
        /// It decides unless the standby in its record does.
        case contender(StandbyReplication)
    }

    /// What happens.
    private enum Event: Sendable {
        case server(ServerEvent)
        case other(ClientEvent)
        case stop(String)
    }

    /// Whether its loop turns, and whether it could take over.
    let health = ProcessHealth()
    let log: Logger
    let store: CoordinatorDatabase
    private let mailbox = Mailbox<Event>()
    let server: ServerEndpoint
    private let other: ClientConnection
    let otherEndpoint: String
    private let ownEndpoint: String
    var part: Part
    private let identity: UInt64
    /// The view in which the other one was given the lead, until it has it.
    private var granted: CoordinatorView?
    var cluster: CoordinatorDatabase.Cluster?
    var record: CoordinatorRecord
    private let origin = ContinuousClock.now
    /// The question to the other coordinator that an answer is waited for.
    private var asked: (request: UInt64, number: Int, at: ContinuousClock.Instant)?
    /// When something could not be written, until it can.
    private var failedAt: ContinuousClock.Instant?
    private var failure: String?
    private var said = ""
    var ending: Ending?

    /// How long an answer is waited for.
    private static let patience = Duration.seconds(1)
    /// How long one that could not keep something waits before it asks again: the other one waits for it in vain each time.
    private static let writePause = Duration.seconds(60)

    /// Where it listens.
    var address: Endpoint { server.address }

    /// - Parameters:
    ///   - store: of this coordinator.
    ///   - other: the endpoint of the one that it stands by for, or that stands by.
    ///   - isAutomatic: whether a standby takes over by itself.
    ///   - advertise: where the other one reaches this one; nil: as it is bound, or by this machine's name.
    /// - Throws: `WireError` if an endpoint cannot be used, `CoordinatorStoreError` if the database cannot be read.
    init(
        store: CoordinatorDatabase, other: String, isStandby: Bool, isAutomatic: Bool, bind: String,
        advertise: AdvertisedAddress?, security: ClusterSecurity, log: Logger
    ) throws {
        (self.store, otherEndpoint, self.log) = (store, other, log)
        let pair = try store.pair()
        let stored = try store.load()
        (cluster, record) = (stored?.cluster, stored?.record ?? CoordinatorRecord())
        (identity, granted) = (pair.identity, pair.granted)
        let process = UInt64.random(in: 1 ... .max)
        let patience = Duration.seconds(try Self.lease(cluster))
        part =
            isStandby
            ? .follower(
                Follower(
                    record.view, identity: pair.identity, process: process, patience: patience,
                    isAutomatic: isAutomatic, at: .zero))
            : .contender(
                StandbyReplication(
                    record.view, identity: pair.identity, session: process, patience: patience, at: .zero))
        server = try ServerEndpoint(bind: bind, security: security.server, events: mailbox.sink { .server($0) })
        if let warning = server.warning { log.warning("\(warning)") }
        ownEndpoint = try server.endpoint(advertisedAs: advertise, host: ProcessInfo.processInfo.hostName)
        guard ![server.endpoint, ownEndpoint, "\(server.address.fromThisMachine)"].contains(other) else {
            throw StoredRunError("\(other) is this coordinator's own endpoint: name the other one's")
        }
        self.other = try ClientConnection(
            connect: other, hello: .coordinator(cluster?.id ?? ""), security: security.coordinator,
            events: mailbox.sink { .other($0) })
    }

    private static func lease(_ cluster: CoordinatorDatabase.Cluster?) throws -> Double {
        guard let cluster else { return 5 }
        return try RunConfiguration(stored: cluster.configuration).cluster.leaseSeconds
    }

    /// Makes `run` return. From any thread.
    func stop(_ reason: String) { mailbox.post(.stop(reason)) }

    var now: Duration { ContinuousClock.now - origin }

    /// Runs until it is clear who decides.
    func run() -> Ending {
        log.info("listening at \(server.endpoint): \(situation)")
        defer {
            other.close()
            server.close()
        }
        while true {
            if case .stop(let reason)? = handle(mailbox.next(until: .now + .milliseconds(100))) {
                log.info("stopping: \(reason)")
                return .stopped
            }
            ask()
            tend()
            health.turn(obstacle: isInView ? nil : situation)
            if let ending { return ending }
        }
    }

    private func handle(_ event: Event?) -> Event? {
        switch event {
        case .stop: return event
        case .server(.received(let peer, let request, let message)): receive(message, peer, request)
        case .server(.security(let event)): log.log(level: event.isWarning ? .warning : .info, "\(event)")
        case .server(.trouble(let trouble)): log.log(level: trouble.isWarning ? .warning : .info, "\(trouble)")
        case .server(.dropped), nil: break
        case .other(.received(let request, let message)): hear(message, request)
        case .other(.refused(let refusal)):
            say("\(otherEndpoint) refuses this coordinator: \(refusal.message)", .error)
            other.greet()
        case .other(.handshakeFailed(let failure)): say("\(failure.message); trying on", .error)
        case .other(.welcomed): asked = nil
        case .other(.unanswered), .other(.silent), .other(.standingBy), .other(.arriving): break
        }
        return nil
    }

    /// Logs what was not said last.
    private func say(_ text: String, _ level: Logger.Level = .info) {
        if text != said { log.log(level: level, "\(text)") }
        said = text
    }

    // MARK: The other coordinator

    private func ask() {
        guard other.isWelcomed else { return }
        if let asked, .now - asked.at < Self.patience { return }
        if !canWrite() { return }
        let message: WireMessage
        var number = 0
        switch part {
        case .follower(var follower):
            number = follower.ask()
            part = .follower(follower)
            let question = ReplicationQuestion(
                question: .init(
                    standby: .init(id: identity, endpoint: ownEndpoint), session: follower.session,
                    have: follower.have, wantsToLead: follower.wantsToLead), granted: granted)
            message = .operatorRequest(
                OperatorRequest(
                    command: OperatorCommandName.replicate.rawValue, arguments: question.arguments))
        case .contender:
            message = .operatorRequest(OperatorRequest(command: OperatorCommandName.view.rawValue))
        }
        if case .queued(let request) = other.send(message) { asked = (request, number, .now) }
    }

    /// Whether what is decided can be kept here. A standby that cannot keep it is none: it does not ask.
    private func canWrite() -> Bool {
        guard let failedAt else { return true }
        guard .now - failedAt > Self.writePause else { return false }
        do { try store.follow(otherEndpoint, granted: granted) } catch {
            self.failedAt = .now
            return false
        }
        (self.failedAt, failure) = (nil, nil)
        return true
    }

    private func hear(_ message: WireMessage, _ request: UInt64) {
        guard let asked, asked.request == request else { return }
        switch message {
        case .operatorReply(let reply):
            switch part {
            case .follower(var follower):
                guard follower.takes(answerTo: asked.number) else { return }
                do { try take(ReplicationReply(json: reply.json), &follower) } catch {
                    say("what \(otherEndpoint) has decided cannot be kept here: \(error)", .error)
                    (failedAt, failure) = (.now, "\(error)")
                }
                part = .follower(follower)
                self.asked = nil
            case .contender:
                // Asked again a second later.
                guard let answer = try? StatusJSON.decode(ViewReply.self, from: reply.json) else { return }
                if answer.leads, answer.view > record.view.number {
                    log.warning(
                        "\(otherEndpoint) has taken over (view \(answer.view)): this coordinator stands by for it")
                    standBy()
                }
            }
        case .refused(let refusal): say("\(otherEndpoint): \(refusal.message)", .warning)
        default: break
        }
    }

    private func take(_ reply: ReplicationReply, _ follower: inout Follower) throws {
        if let problem = reply.problem {
            throw StoredRunError("the answer of \(otherEndpoint) cannot be one: \(problem)")
        }
        if let copy = reply.everything {
            if let cluster, cluster.id != copy.cluster.id {
                throw StoredRunError(
                    "\(store.path) is of cluster \(cluster.id), \(otherEndpoint) coordinates \(copy.cluster.id): stand by with an empty --state directory"
                )
            }
            if let problem = copy.problem() {
                throw StoredRunError("what \(otherEndpoint) sends as its record cannot be one: \(problem)")
            }
            try store.become(copy.cluster, deciding: copy.record.decisions)
            (cluster, record, granted) = (copy.cluster, copy.record, nil)
            follower.patience = .seconds(try Self.lease(cluster))
            follower.wrote(upTo: reply.upTo, session: reply.session, view: record.view, at: now)
            other.update(.coordinator(copy.cluster.id))
        } else if let first = reply.entries.first {
            guard follower.fits(session: reply.session, first: first.number) else { return }
            for entry in reply.entries { try keep(entry.written) }
            follower.wrote(
                upTo: first.number + reply.entries.count - 1, session: reply.session, view: record.view, at: now)
        } else if let view = reply.handedOver {
            follower.handedOver(view)
        } else {
            follower.heard(at: now)
        }
        say(situation)
    }

    private func keep(_ written: Written) throws {
        switch written {
        case .decisions(let decisions):
            var next = record
            for decision in decisions {
                guard decision.isCountable else {
                    throw StoredRunError("\(otherEndpoint) has decided what cannot be: \(decision)")
                }
                next.apply(decision)
            }
            // Steps come often, and change nothing else.
            if decisions.contains(where: \.mustBeDurable),
                let problem = next.problem(sliceCount: SliceLayout.sliceLimit, denseSliceCount: SliceLayout.sliceLimit)
            {
                throw StoredRunError("\(otherEndpoint) has decided what cannot be: \(problem)")
            }
            try store.write(decisions)
            record = next
        case .cluster(let copy):
            guard copy.cluster.id == cluster?.id, copy.problem() == nil,
                (try? RunConfiguration(stored: copy.cluster.configuration)) != nil
            else { throw StoredRunError("\(otherEndpoint) has changed the cluster to what cannot be") }
            try store.change(copy.cluster)
            cluster = copy.cluster
        }
    }

    // MARK: Who decides

    private func tend() {
        switch part {
        case .follower(var follower):
            let wasAsking = follower.question != nil
            let outcome = follower.outcome(at: now, chance: .random(in: 0..<1))
            part = .follower(follower)
            if !wasAsking, follower.question != nil {
                log.warning("\(otherEndpoint) is silent: asking the shard servers whether to take over")
            }
            switch outcome {
            case .follows: break
            case .isOutdated:
                say(
                    "\(otherEndpoint) has gone on alone: this standby cannot take over before it is in step again",
                    .warning)
            case .leads(let view): lead(in: view)
            }
        case .contender(var replication):
            let outcome = replication.outcome(at: now, chance: .random(in: 0..<1))
            part = .contender(replication)
            switch outcome {
            case .leads: say(situation)
            case .alone(let view): lead(in: view)
            case .superseded(let view):
                log.warning("the shards have agreed that \(otherEndpoint) decides: this coordinator stands by for it")
                standBy(granted: view)
            case .isOutdated:
                log.warning("the shards know of a later coordinator: this one stands by for \(otherEndpoint)")
                standBy()
            case .isolated:
                // From the beginning, above every promise.
                part = .contender(
                    StandbyReplication(
                        record.view, identity: identity, session: .random(in: 1 ... .max),
                        patience: .seconds((try? Self.lease(cluster)) ?? 5), at: now))
            }
        }
    }

    /// The other one decides. That is on the disk first: from here on the record is a copy of that one's.
    private func standBy(granted: CoordinatorView? = nil) {
        do { try store.follow(otherEndpoint, granted: granted) } catch { return say("\(error): tried again", .error) }
        ending = .follows(otherEndpoint)
    }

    private func lead(in view: CoordinatorView) {
        do { try store.lead(in: view) } catch { return say("\(error): tried again", .error) }
        log.warning("this coordinator decides from now on (view \(view.number))")
        ending = .leads
    }

    private var isInView: Bool { if case .follower(let follower) = part { follower.isInView } else { false } }

    /// What it does, for people.
    var situation: String {
        switch part {
        case .follower(let follower):
            if let (agreed, needed) = follower.progress {
                return "it takes over from \(otherEndpoint) when \(needed) shard servers have agreed (\(agreed) have)"
            }
            if let failure {
                return "it stands by for \(otherEndpoint) and cannot keep what that one decides: \(failure)"
            }
            let silence = follower.silence(at: now)
            if silence > follower.patience {
                return "\(otherEndpoint), which it stands by for, is silent for \(Int(silence / .seconds(1))) s: "
                    + (follower.isInView
                        ? "`coordinator promote` has this one take over"
                        : "this one lacks decisions of it, and cannot take over")
            }
            return follower.isInView
                ? "it stands by for \(otherEndpoint) and has every decision"
                : "it stands by for \(otherEndpoint) and does not have every decision yet"
        case .contender:
            return
                "it asks whether its standby \(otherEndpoint) has taken over: start that one, or a majority of the shard servers"
        }
    }
}
