/// Who is there: numbers, incarnations and leases.
extension CoordinatorMachine {
    /// Gives a number to a process that passed the handshake. Repeating it gives the same number again.
    mutating func join(_ newcomer: Member, _ role: MemberRole, _ previousNumber: Int?, _ stateStep: Int) -> [Action] {
        switch role {
        case .operator:
            return [.refuse(newcomer.peer, .unknownRequest, message: "an operator is not a member of the cluster")]
        case .worker:
            if let number = workers.first(where: { $0.value.incarnation == newcomer.incarnation })?.key {
                workers[number]?.peer = newcomer.peer
                workers[number]?.lastHeard = newcomer.lastHeard
                return welcome(newcomer, MemberID(.worker, number))
            }
            guard workers.count < configuration.maximumWorkers else {
                let message = "there are \(workers.count) workers already; a plan has no room for more"
                return [.refuse(newcomer.peer, .configuration, message: message)]
            }
            let member = MemberID(.worker, nextWorkerNumber)
            nextWorkerNumber += 1
            workers[member.number] = newcomer
            return [.event(.info, "\(member) joined")] + welcome(newcomer, member)
        case .shard:
            return joinShard(newcomer, previousNumber, stateStep)
        }
    }

    private func welcome(_ newcomer: Member, _ member: MemberID) -> [Action] {
        [.welcome(newcomer.peer, member), .send(member, newcomer.peer, plan)]
    }

    private mutating func joinShard(_ newcomer: Member, _ previousNumber: Int?, _ stateStep: Int) -> [Action] {
        if let number = shards.firstIndex(where: { $0?.incarnation == newcomer.incarnation }) {
            let wasAlive = shards[number]?.isAlive == true
            shards[number]?.peer = newcomer.peer
            shards[number]?.lastHeard = newcomer.lastHeard
            shards[number]?.isAlive = true
            let member = MemberID(.shard, number)
            return (wasAlive ? [] : [.event(.info, "\(member) is back")]) + welcome(newcomer, member)
        }
        guard let number = freeNumber(for: newcomer, previousNumber) else {
            let message = "all \(shards.count) shards are there; start the coordinator with more to use another one"
            return [.refuse(newcomer.peer, .configuration, message: message)]
        }
        let member = MemberID(.shard, number)
        if stateStep != committed {
            let has = stateStep < 0 ? "without its state" : "with the state of step \(stateStep)"
            let known = shards[number].map { previousNumber == number || $0.endpoint == newcomer.endpoint } ?? false
            let message =
                known
                ? "\(member) came back \(has), but step \(committed) is committed"
                : "a shard at \(newcomer.endpoint) joined \(has), but step \(committed) is committed"
            let refusal = Action.refuse(newcomer.peer, .stateLost, message: message)
            return known && committed >= 0
                ? [refusal] + fail("\(message); what it held is lost, start the run again")
                : [refusal, .event(.warning, message)]
        }
        let isReplaced = shards[number] != nil
        shards[number] = newcomer
        var actions: [Action] = [.event(.info, "\(member) joined at \(newcomer.endpoint)")]
        // What the process before it had prepared is gone with it.
        if isReplaced && activity == .train { actions += abort("\(member) was replaced") }
        return actions + welcome(newcomer, member)
    }

    /// The number of a shard that was never there, that went, or whose process was started again at its endpoint.
    private func freeNumber(for newcomer: Member, _ previousNumber: Int?) -> Int? {
        func isFree(_ number: Int) -> Bool { shards[number].map { !$0.isAlive } ?? true }
        if let restarted = shards.firstIndex(where: { $0?.endpoint == newcomer.endpoint }) { return restarted }
        if let previousNumber, shards.indices.contains(previousNumber), isFree(previousNumber) { return previousNumber }
        return shards.firstIndex { $0 == nil } ?? shards.indices.first(where: isFree)
    }

    /// Renews the lease of a member, then lets `body` answer. Other incarnations and unknown members are refused.
    mutating func heard(
        _ peer: Peer, _ member: MemberID, _ incarnation: UInt64, _ now: Duration, _ body: (inout Self) -> [Action]
    ) -> [Action] {
        guard let known = self[member] else {
            let message = "\(member) is not a member any more; join again"
            return [.refuse(peer, .notWelcomed, message: message)]
        }
        guard known.incarnation == incarnation else {
            let message = "another process is \(member) now; join again"
            return [.refuse(peer, .incarnation, message: message)]
        }
        self[member]?.peer = peer
        self[member]?.lastHeard = now
        self[member]?.isAlive = true
        let returned: [Action] = known.isAlive ? [] : [.event(.info, "\(member) is back")]
        return returned + body(&self)
    }

    /// Whether the process of this incarnation is the member of this number.
    public func isMember(_ member: MemberID, incarnation: UInt64) -> Bool { self[member]?.incarnation == incarnation }

    subscript(member: MemberID) -> Member? {
        get {
            switch member.role {
            case .worker: workers[member.number]
            case .shard: shards.indices.contains(member.number) ? shards[member.number] : nil
            case .operator: nil
            }
        }
        set {
            switch member.role {
            case .worker: workers[member.number] = newValue
            case .shard: if shards.indices.contains(member.number) { shards[member.number] = newValue }
            case .operator: break
            }
        }
    }

    mutating func leave(_ member: MemberID, _ incarnation: UInt64) -> [Action] {
        guard self[member]?.incarnation == incarnation else { return [] }
        return lose(member, "left")
    }

    mutating func expire(_ now: Duration) -> [Action] {
        let lease = configuration.lease
        var actions: [Action] = []
        for number in shards.indices {
            guard let shard = shards[number], shard.isAlive, shard.lastHeard + lease <= now else { continue }
            actions += lose(MemberID(.shard, number), "was not heard of for \(lease)")
        }
        for number in workers.filter({ $0.value.lastHeard + lease <= now }).keys.sorted() {
            actions += lose(MemberID(.worker, number), "was not heard of for \(lease)")
        }
        return actions
    }

    /// A shard keeps its number, because its state is nowhere else; a worker is forgotten.
    private mutating func lose(_ member: MemberID, _ why: String) -> [Action] {
        switch member.role {
        case .worker: workers[member.number] = nil
        case .shard: shards[member.number]?.isAlive = false
        case .operator: break
        }
        return [.event(.warning, "\(member) \(why)")]
    }
}
