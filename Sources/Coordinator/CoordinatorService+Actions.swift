import Cluster
import Configuration
import CoordinatorStore
import Foundation
import Logging
import Monitoring
import OperatorStatus
import ProcessSupport
import Setup
import StepProtocol
import Succession
import Wire

/// Doing what the machine says: decisions are written before anything that follows from them.
extension CoordinatorService {
    func perform(_ actions: [Machine.Action]) {
        // The metrics first: a coordinator that dies before the commit is written drops the line again. One that has not heard of its standby
        // for long may have been taken over from, by one that writes to the same file.
        for case .committed(let report) in actions where !hasLostStandby {
            let headVaries = setup.headVaries(machine.headChanges)
            write { noteGap(try metrics.append(report, headVaries: headVaries)) }
            monitor?.note(report)
            tensorBoard?.append(StepFigures(report), head: headVaries ? ClusterStatus.Head(report.head) : nil)
            if let stage = setup.headSchedule.summary(ofStageAt: report.step + 1) { note(.info, stage) }
        }
        followCheckpoints(actions)
        carryOut(actions[...], answering: inHand)
    }

    private func carryOut(_ actions: ArraySlice<Machine.Action>, answering question: Question?) {
        var rest = actions
        while let action = rest.first {
            guard case .persist = action else {
                if waits(action) {
                    replication.hold(.action(action, question: question, hello: hello(for: action)))
                } else {
                    carryOut(action, answering: question)
                }
                rest.removeFirst()
                continue
            }
            let decisions = rest.prefix { if case .persist = $0 { true } else { false } }.compactMap {
                if case .persist(let decision) = $0 { decision } else { nil }
            }
            do throws(CoordinatorStoreError) {
                if decisions.contains(where: \.mustBeDurable) { metrics.sync() }
                try store.write(decisions)
                copies.note(decisions)
            } catch {
                let isNew = blocked?.problem != error.message
                blocked = Blocked(
                    actions: rest, question: question, retryAt: .now + .seconds(1), problem: error.message,
                    events: blocked?.events ?? [])
                if isNew { log.error("\(error); everything waits until it can be written, tried again every second") }
                return
            }
            rest.removeFirst(decisions.count)
            noteWritten(.decisions(decisions), mustWait: decisions.contains(where: \.mustBeDoubled))
        }
        guard let wasBlocked = blocked else { return }
        blocked = nil
        log.info("the decision is written: going on")
        for event in wasBlocked.events { mailbox.post(event) }
    }

    /// Tries again to write what could not be written.
    func retry() {
        guard let blocked else { return }
        carryOut(blocked.actions, answering: blocked.question)
    }

    /// What a process that is let in has said of itself.
    private func hello(for action: Machine.Action) -> Hello? {
        if case .welcome(let peer, _) = action { hellos[peer] } else { nil }
    }

    func carryOut(_ action: Machine.Action, answering question: Question?) {
        func request(_ peer: PeerID) -> UInt64 { question?.peer == peer ? question?.request ?? 0 : 0 }
        switch action {
        case .persist: break
        case .welcome(let peer, let member): welcome(member, peer, request(peer))
        case .refuse(let peer, let code, let message):
            if let hello = hellos[peer], members.values.contains(where: { $0.peer == peer }) == false {
                noteRefusal("refused \(hello.role) \(hello.name) of \(hello.host): \(message)")
            } else if let rest = refusals.next() {
                log.warning("refused a message: \(message)\(rest)")
            }
            server.refuse(peer, request: request(peer), Refusal(code, message))
        case .dismiss(let peer, let member):
            members[member] = nil
            server.refuse(
                peer, request: request(peer), Refusal(.drained, "\(member) has handed its slices over and may go"))
        case .send(_, let peer, let plan): deliver(.plan(plan), to: peer, request: request(peer))
        case .committed: break  // In the metrics since `perform`.
        case .event(let level, let text): note(level, text)
        case .refuseOperator(let message): operatorRefusal = message
        case .writeCheckpoint(let number, let checkpoint, let details): writeCheckpoint(number, checkpoint, details)
        case .abandonCheckpoint(let checkpoint): abandonCheckpoint(checkpoint)
        case .deleteCheckpoint(let checkpoint): deleteCheckpoint(checkpoint)
        case .finished:
            endMetrics()
            note(.info, "finished: every shard that is alive has committed step \(machine.committed)")
        case .failed(let reason): note(.error, "the run failed: \(reason)")
        }
    }

    private func welcome(_ member: MemberID, _ peer: PeerID, _ request: UInt64) {
        let configuration = setup.configuration
        let lease = configuration.cluster.leaseSeconds
        var welcome = Welcome(clusterID: cluster.id, member: member)
        welcome.configuration = configuration.canonicalText
        welcome.configurationHash = configuration.fingerprint
        welcome.leaseMilliseconds = Int(lease * 1000)
        welcome.heartbeatMilliseconds = max(50, min(1000, Int(lease * 200)))
        welcome.committed = machine.committed
        welcome.checkpoint = machine.checkpoints.last?.directory ?? cluster.origin?.directory ?? ""
        if let hello = hellos[peer] { members[member] = MemberNotes(hello, peer) }
        // Of those that have gone nothing is told any more.
        if members.count > 2 * machine.record.members.count + 16 {
            members = members.filter { machine.record.members[$0.key] != nil }
        }
        deliver(.welcome(welcome), to: peer, request: request)
    }

    /// Makes the metrics end with the last committed step.
    func endMetrics() {
        write { try metrics.cut(after: machine.committed) }
        write { noteGap(try metrics.fill(upTo: machine.committed)) }
        metrics.sync()
    }

    /// Says which steps' figures are lost: the shards had the steps, and the metrics did not have them on the disk.
    private func noteGap(_ gap: Range<Int>) {
        guard let last = gap.last else { return }
        note(
            .warning,
            "the losses of the \(gap.count) steps from \(gap.lowerBound) to \(last) are lost: this coordinator ended before they were on its disk; metrics.jsonl says so"
        )
    }

    /// Who is refused comes again and again: the events tell of each reason once, of some hundred at most.
    func noteRefusal(_ text: String) {
        let count = refusedHellos[text] ?? 0
        guard count > 0 || refusedHellos.count < 256 else {
            if let rest = refusals.next() { log.warning("\(text)\(rest)") }
            return
        }
        refusedHellos[text] = count + 1
        if count == 0 { note(.warning, text) } else { log.debug("\(text)") }
    }

    /// Logs an event and keeps it for `coordinator events`.
    func note(_ level: EventLevel, _ text: String) {
        log.log(level: level.logLevel, "\(text)")
        let event = CoordinatorDatabase.Event(time: Date().timeIntervalSince1970, level: "\(level)", text: text)
        unwrittenEvents.append(event)
        monitor?.note(ClusterEvent(time: event.time, level: event.level, text: event.text))
        // They may be lost: a decision that cannot be written is what people hear of.
        guard (try? store.append(unwrittenEvents)) == nil else {
            unwrittenEvents.removeAll()
            return
        }
        if unwrittenEvents.count > 1000 { unwrittenEvents.removeFirst() }
    }
}

extension EventLevel {
    var logLevel: Logger.Level {
        switch self {
        case .info: .info
        case .warning: .warning
        case .error: .error
        }
    }
}
