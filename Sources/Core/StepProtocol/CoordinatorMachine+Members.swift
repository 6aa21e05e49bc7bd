public import Cluster

/// Who is there: numbers, incarnations and leases.
extension CoordinatorMachine {
    /// A process that passed the handshake.
    struct Newcomer {
        var peer: PeerID
        var incarnation: UInt64
        var endpoint: String
        var previousNumber: Int?
        var state: ShardState
        var place = ""
        var replaces: UInt64?
        var writesResults = false
        var job: JobRank?
        var zone = ""
    }

    /// Gives a number to a process that passed the handshake. Repeating it gives the same number again.
    mutating func join(_ newcomer: Newcomer, _ role: MemberRole, _ now: Duration) -> [Action] {
        switch role {
        case .operator:
            return [.refuse(newcomer.peer, .unknownRequest, message: "an operator is not a member of the cluster")]
        case .worker:
            var replaced: [MemberID] = []
            if let objection = objection(to: newcomer.job, of: newcomer.incarnation, replaced: &replaced) {
                return [.refuse(newcomer.peer, objection.code, message: objection.message)]
            }
            if let member = member(of: newcomer, .worker) { return welcomeBack(newcomer, member, now) }
            guard workers.count < configuration.maximumWorkers else {
                let message = "there are \(workers.count) workers already; a plan has no room for more"
                return [.refuse(newcomer.peer, .configuration, message: message)]
            }
            // Only the process itself and what it left where it ran know its incarnation: a stranger cannot say so.
            var actions = replaced.flatMap {
                lose($0, "was started again before its job was complete", forgets: true, level: .info, now)
            }
            if let replaces = newcomer.replaces, let dead = worker(of: replaces) {
                actions += lose(dead, "was started again", forgets: true, level: .warning, now)
            }
            guard record.nextWorker < MemberID.numberLimit else {
                return [.refuse(newcomer.peer, .configuration, message: "no number is left for another worker")]
            }
            let member = MemberID(.worker, record.nextWorker)
            let role = newcomer.job.map { " as rank \($0.rank) of \(JobRank.name($0.id))" } ?? ""
            actions += admit(newcomer, member, now) + [.event(.info, "\(member) joined\(role)")]
            actions += admitWorker(member, from: newcomer.place, now)
            return actions + welcome(newcomer, member)
        case .shard:
            return joinShard(newcomer, now)
        }
    }

    /// Live workers by number.
    var workers: [MemberID] { live.keys.filter { $0.role == .worker }.sorted() }
    /// Shards that are members, alive or not.
    var shards: [MemberID] { record.members.keys.filter { $0.role == .shard }.sorted() }

    /// Whether its lease holds.
    func isHeard(_ member: MemberID) -> Bool { live[member]?.isAlive == true && live[member]?.peer != nil }

    /// Whether it can take part: it is heard of, and not a shard that no worker reaches.
    func isAlive(_ member: MemberID) -> Bool { isHeard(member) && !isCutOff(member) }

    private func worker(of incarnation: UInt64) -> MemberID? {
        record.members.first { $0.key.role == .worker && $0.value.incarnation == incarnation }?.key
    }

    private func member(of newcomer: Newcomer, _ role: MemberRole) -> MemberID? {
        record.members.first { $0.key.role == role && $0.value.incarnation == newcomer.incarnation }?.key
    }

    func welcome(_ newcomer: Newcomer, _ member: MemberID) -> [Action] {
        [.welcome(newcomer.peer, member)] + planned(for: member, newcomer.peer)
    }

    private mutating func welcomeBack(_ newcomer: Newcomer, _ member: MemberID, _ now: Duration) -> [Action] {
        let wasAlive = isHeard(member)
        live[member, default: Live(peer: nil, lastHeard: now)].peer = newcomer.peer
        live[member]?.lastHeard = now
        live[member]?.isAlive = true
        live[member]?.goodbye = ""
        live[member]?.writesResults = newcomer.writesResults
        live[member]?.job = newcomer.job
        live[member]?.logsSteps = newcomer.state.logsSteps
        live[member]?.holdings = newcomer.state.holdings
        if member.role == .shard && !wasAlive { live[member]?.unchecked = newcomer.state }
        settle(member)
        if wasAlive { return welcome(newcomer, member) }
        return [.event(.info, "\(member) is back")] + returned(member) + welcome(newcomer, member)
    }

    /// A shard that owns nothing is there again: it may be given slices.
    private mutating func returned(_ member: MemberID) -> [Action] {
        guard member.role == .shard, !owns(member), !isDraining(member) else { return [] }
        return replanned()
    }

    mutating func admit(_ newcomer: Newcomer, _ member: MemberID, _ now: Duration) -> [Action] {
        var replaced = live[member]?.replaced ?? []
        if let known = record.members[member] { replaced.append(known.incarnation) }
        live[member] = Live(
            peer: newcomer.peer, lastHeard: now, unchecked: member.role == .shard ? newcomer.state : nil,
            logsSteps: newcomer.state.logsSteps, writesResults: newcomer.writesResults,
            holdings: newcomer.state.holdings, job: newcomer.job, replaced: replaced.suffix(8))
        settle(member)
        let isDraining = record.members[member]?.isDraining ?? false
        return decide(
            .member(
                member,
                .init(
                    incarnation: newcomer.incarnation, endpoint: newcomer.endpoint, isDraining: isDraining,
                    place: newcomer.state.holdings?.place ?? "", directory: newcomer.state.holdings?.identity ?? 0,
                    zone: newcomer.zone.isEmpty ? nil : newcomer.zone)))
    }

    private mutating func joinShard(_ newcomer: Newcomer, _ now: Duration) -> [Action] {
        if let member = dismissed.first(where: { $0.value == newcomer.incarnation })?.key {
            return [.dismiss(newcomer.peer, member)]
        }
        // Whose state it is comes first: nothing that it says counts before that is clear.
        if let answer = examine(newcomer, now) { return answer }
        return hear(of: newcomer) + seat(newcomer, now)
    }

    /// What a shard's hello shows of the record: that it is older than the cluster.
    private mutating func hear(of newcomer: Newcomer) -> [Action] {
        guard let held = newcomer.state.holdings, let number = newcomer.previousNumber else { return [] }
        let actions = hear(of: newcomer.state)
        guard newcomer.state.hasSlices, isOfTheFuture(held) else { return actions }
        return actions + noteOlder(MemberID(.shard, number), held)
    }

    /// Whether a hello was so long on its way that the process which said it has done more since: it had no number yet, and owned slices
    /// when a step was committed. A coordinator that was started again would take them for lost.
    private func isOutdated(_ newcomer: Newcomer, _ member: MemberID) -> Bool {
        if case .restore? = record.task?.kind { return false }
        return newcomer.previousNumber == nil && !newcomer.state.hasSlices && !isHeard(member) && owns(member)
            && record.committed >= 0 && !isOlder
    }

    private mutating func seat(_ newcomer: Newcomer, _ now: Duration) -> [Action] {
        if let member = member(of: newcomer, .shard) {
            if isOutdated(newcomer, member) {
                let message = "say hello again: this one is from before \(member) owned slices"
                return [.refuse(newcomer.peer, .notWelcomed, message: message)]
            }
            var actions: [Action] = []
            if let known = record.members[member], known.endpoint != newcomer.endpoint {
                var moved = known
                moved.endpoint = newcomer.endpoint
                actions += decide(.member(member, moved))
            }
            return actions + welcomeBack(newcomer, member, now)
        }
        guard let member = predecessor(of: newcomer) else {
            if let number = newcomer.previousNumber, newcomer.state.hasSlices {
                // Whoever made a number up would leave none above it.
                if isOlder, newcomer.state.holdings != nil, shards.count < Plan.memberLimit,
                    number < min(MemberID.numberLimit, record.nextShard + 1 << 16)
                {
                    let member = MemberID(.shard, number)
                    let actions = admit(newcomer, member, now)
                    return actions + [.event(.info, "\(member) is back at \(newcomer.endpoint)")]
                        + welcome(newcomer, member)
                }
                let place = newcomer.state.holdings?.place ?? ""
                let message =
                    "\(place.isEmpty ? "this shard's directory" : "the directory \(place)") is that of shard-\(number), which was "
                    + "given up or has handed everything over: others own its slices, and nothing in it is needed any more. Empty it, or "
                    + "start the shard server with another --directory"
                return [.refuse(newcomer.peer, .stateLost, message: message)]
            }
            guard record.nextShard < MemberID.numberLimit else {
                return [.refuse(newcomer.peer, .configuration, message: "no number is left for another shard")]
            }
            guard shards.count < Plan.memberLimit else {
                let message = "there are \(shards.count) shards already; a plan has no room for more"
                return [.refuse(newcomer.peer, .configuration, message: message)]
            }
            let member = MemberID(.shard, record.nextShard)
            var actions = admit(newcomer, member, now)
            let zone = newcomer.zone.isEmpty ? "" : ", in zone \(newcomer.zone)"
            actions += [.event(.info, "\(member) joined at \(newcomer.endpoint)\(zone)")]
            if !record.owners.isEmpty && configuration.rebalancesAutomatically { actions += replan() }
            return actions + welcome(newcomer, member)
        }
        // A directory has one process at a time: one that comes with it shows that the process before it is dead.
        let isSuccessor = newcomer.state.logsSteps && live[member]?.replaced.contains(newcomer.incarnation) != true
        if isHeard(member), !isSuccessor, record.members[member]?.endpoint != newcomer.endpoint {
            let message = "another process is \(member) now, at \(record.members[member]?.endpoint ?? "")"
            return [.refuse(newcomer.peer, .incarnation, message: message)]
        }
        // What the process before it had prepared, copied or acknowledged is gone with it.
        var actions: [Action] = []
        if activity == .train && owns(member) { actions += abort("\(member) was replaced") }
        acknowledged[member] = nil
        actions += admit(newcomer, member, now)
        actions += [.event(.info, "\(member) is back at \(newcomer.endpoint)")] + returned(member)
        return actions + welcome(newcomer, member)
    }

    /// The member that a process was before: by its number, or, if it keeps nothing, the one that died at its endpoint or as such.
    private func predecessor(of newcomer: Newcomer) -> MemberID? {
        if let number = newcomer.previousNumber {
            let member = MemberID(.shard, number)
            if let known = record.members[member], !isOther(newcomer, than: known, member) { return member }
            if newcomer.state.hasSlices { return nil }
        }
        if newcomer.state.hasSlices { return nil }
        if let restarted = shards.first(where: { record.members[$0]?.endpoint == newcomer.endpoint }) {
            // An empty directory never answers for steps that it has not.
            return keepsCopies && newcomer.state.logsSteps && owns(restarted) && isUnderWay ? nil : restarted
        }
        guard !newcomer.state.logsSteps else { return nil }
        return shards.first { owns($0) && !isHeard($0) && live[$0]?.logsSteps == false }
    }

    /// Whether an empty directory with the number of a member is not that member's: a database that was put back, or made again, gives
    /// numbers again. Before the first step the directory of an owner may be empty, and may have been moved.
    private func isOther(
        _ newcomer: Newcomer, than known: CoordinatorRecord.MemberRecord, _ member: MemberID
    ) -> Bool {
        guard !newcomer.state.hasSlices, let identity = newcomer.state.holdings?.identity, identity != 0,
            known.directory != 0, known.incarnation != newcomer.incarnation
        else { return false }
        return identity != known.directory && (committed >= 0 || isHeard(member) || !owns(member))
    }

    /// Renews the lease of a member, then lets `body` answer. Other incarnations and unknown members are refused.
    mutating func heard(
        _ peer: PeerID, _ member: MemberID, _ incarnation: UInt64, _ now: Duration, _ body: (inout Self) -> [Action]
    ) -> [Action] {
        guard let known = record.members[member] else {
            if dismissed[member] == incarnation { return [.dismiss(peer, member)] }
            let message = "\(member) is not a member any more; join again"
            return [.refuse(peer, .notWelcomed, message: message)]
        }
        guard known.incarnation == incarnation else {
            let message = "another process is \(member) now; join again"
            return [.refuse(peer, .incarnation, message: message)]
        }
        // After a restart of the coordinator a shard must say first what it holds.
        guard member.role == .worker || live[member]?.peer != nil else {
            return [.refuse(peer, .notWelcomed, message: "the coordinator was restarted; join again")]
        }
        let wasAlive = isHeard(member)
        live[member]?.peer = peer
        live[member]?.lastHeard = now
        live[member]?.isAlive = true
        live[member]?.goodbye = ""
        copies.givenUp.remove(member)
        let event: [Action] = wasAlive ? [] : [.event(.info, "\(member) is back")]
        let more = wasAlive || owns(member) ? [] : returned(member)
        return event + more + body(&self)
    }

    /// Whether the process of this incarnation is the member of this number.
    public func isMember(_ member: MemberID, incarnation: UInt64) -> Bool {
        record.members[member]?.incarnation == incarnation
    }

    /// What a shard says of itself.
    mutating func take(_ report: ShardReport, of member: MemberID) {
        var report = report
        if report.past != 0, report.past != record.pasts.present {
            // It was on its way while the cluster went back, or the shard has yet to go back.
            (report.durable, report.received, report.kept) = (-1, [:], [:])
        }
        live[member]?.report = report
        noteSilence(of: member, report)
        mark(report, of: member)
        live[member]?.tellsPrepared = report.prepared != nil
        live[member]?.prepared = report.prepared
        if report.committed >= committed { confirm(member.number) }
        let durable = owners.map { live[$0]?.report?.durable ?? -1 }.min() ?? -1
        safe = max(safe, min(durable, committed))
    }

    /// A member says goodbye. That is nothing to worry about if its process ends as it should and holds nothing that is missed.
    mutating func leave(
        _ member: MemberID, _ incarnation: UInt64, _ reason: String, _ exitCode: Int, _ now: Duration
    ) -> [Action] {
        guard record.members[member]?.incarnation == incarnation else { return [] }
        var text = reason.isEmpty ? "left" : "left: \(reason)"
        if exitCode != 0 { text += " (exit code \(exitCode))" }
        live[member]?.goodbye = reason.isEmpty && exitCode == 0 ? "" : text
        var actions: [Action] = []
        if activity == .train, exitCode == 0, ranks.contains(where: { $0.worker == member }) {
            actions += abort("\(member) leaves", .info)
        }
        let isMissed = owns(member) && !isOver
        let rank = live[member]?.job
        actions += lose(member, text, forgets: true, level: exitCode != 0 ? .error : isMissed ? .warning : .info, now)
        if let rank, exitCode == 0 { actions += endJobThatHasLeft(rank.id) }
        return actions
    }

    mutating func expire(_ now: Duration) -> [Action] {
        let lease = configuration.lease
        return live.filter { $0.value.isAlive && $0.value.lastHeard + lease <= now }.keys.sorted().flatMap {
            // A worker ends when the run does, and may not have been heard.
            let isExpected = isOver && $0.role == .worker
            return lose(
                $0, "was not heard of for \(lease)", forgets: false, level: isExpected ? .info : .warning, now)
        }
    }

    /// A shard that owns slices keeps its number, because its state is nowhere else. So does one whose lease has run out: a
    /// hand-over that was called off may have left complete copies in its directory. Anyone else is forgotten.
    mutating func lose(
        _ member: MemberID, _ why: String, forgets: Bool, level: EventLevel, _ now: Duration
    ) -> [Action] {
        var text = "\(member) \(why)"
        if owns(member) {
            let owned = slices(of: member)
            text += "; it owns \(Count.slices(owned.centers.count, owned.dense.count)), and is waited for"
            if keepsCopies { text += " for \(configuration.promoteAfter)" }
        }
        let event = Action.event(level, text)
        switch member.role {
        case .worker:
            noteEnd(of: member, now)
            return forget(worker: member) + [event] + missEvaluations(of: member)
        case .shard where owns(member):
            live[member]?.isAlive = false
            return [event] + makeRoomForSuccessor(of: member)
        case .shard:
            var actions = [event]
            if forgets || record.owners.isEmpty {
                live[member] = nil
                actions += decide(.gone(member))
            } else {
                live[member]?.isAlive = false
                live[member]?.report = nil
            }
            if record.moves.contains(where: { $0.to == member }) { actions += cancelMoves(to: member) }
            return actions
        case .operator: return []
        }
    }

    /// Nothing of a worker is kept.
    mutating func forget(worker: MemberID) -> [Action] {
        (live[worker], leftOut[worker], complaints[worker]) = (nil, nil, nil)
        return decide(.gone(worker))
    }

    /// A shard that keeps nothing has no number to come back with: started again before its lease is over it looks like a new
    /// one. That one must join again, and takes the place.
    private mutating func makeRoomForSuccessor(of member: MemberID) -> [Action] {
        guard live[member]?.logsSteps == false,
            let spare = shards.first(where: { isAlive($0) && !owns($0) && live[$0]?.logsSteps == false })
        else { return [] }
        live[spare] = nil
        var actions = decide(.gone(spare)) + [.event(.info, "\(spare) is to take the place of \(member)")]
        if record.moves.contains(where: { $0.to == spare }) { actions += cancelMoves(to: spare) }
        return actions
    }
}
