internal import Cluster
internal import Determinism
internal import StepProtocol

/// The coordinator's database is lost, and the next coordinator adopts the shards.
extension Simulation {
    /// The answer to a heartbeat brings the record, if the shard has an older one. It may be lost as any message.
    func giveCopy(to sender: Int, _ member: MemberID, _ incarnation: UInt64) {
        guard scenario.losesDatabase, let record = database.record, let host = shards[sender]?.host,
            coordinator?.machine.isMember(member, incarnation: incarnation) == true,
            isCalm || lossRandom.below(4) > 0
        else { return }
        host.recordCopy = .init(number: recordNumber, record: record)
        host.applied.removeAll { $0.version <= record.classVersion }
    }

    func loseDatabase() {
        if isCalm || isFinished { return }
        queue.insert(.databaseLoss, at: now + 1 + Int64(lossRandom.below(4_000)))
        guard coordinator != nil, !isDatabaseLost, let record = database.record, !record.owners.isEmpty,
            let copy = newestCopy(), canBeAdopted(record)
        else { return }
        if record.owners.contains(where: { !isThere($0.key, $0.value) }) {
            feats["database and host lost", default: 0] += 1
        }
        faults["the coordinator's database is lost", default: 0] += 1
        note(
            "FAULT the coordinator's database is lost; the newest copy has map \(copy.mapVersion), step \(copy.committed)"
        )
        stopCoordinator()
        database = CoordinatorProcess.Database()
        isDatabaseLost = true
        lostRecord = record
        // Nobody but the record can tell the last step from one that was prepared and not committed.
        trained = max(-1, trained - 1)
        floor = max(-1, floor - 1)
        queue.insert(.startCoordinator, at: now + 1 + Int64(lossRandom.below(3_000)))
    }

    private func newestCopy(without lost: ShardHost? = nil) -> CoordinatorRecord? {
        hosts.values.filter { !$0.isCopy && $0 !== lost }.compactMap(\.recordCopy).max {
            ($0.record.term, $0.number) < ($1.record.term, $1.number)
        }?.record
    }

    /// Whether the hosts have everything but the orders of the last moment, if one of them is lost too.
    func canBeAdopted(_ record: CoordinatorRecord, without lost: ShardHost? = nil) -> Bool {
        guard let copy = newestCopy(without: lost), hasEveryOrder(copy, record) else { return false }
        if !scenario.secondCopies { return true }
        // Where a slice is that was given to a host which is lost only the newest record says.
        return copy.mapVersion == record.mapVersion && copy.keepers == record.keepers
            && hosts.values.allSatisfy { $0.recordCopy?.record.owners.isEmpty != true }
            && record.owners.allSatisfy { slice, owner in
                isThere(slice, owner, without: lost) || hasCopy(of: slice, record, without: lost)
            }
    }

    /// Orders of the last moment are lost with the database: this is about everything else.
    private func hasEveryOrder(_ copy: CoordinatorRecord, _ record: CoordinatorRecord) -> Bool {
        copy.rates == record.rates && copy.headChanges == record.headChanges
            && copy.operations.count == record.operations.count && copy.pasts == record.pasts
    }

    /// Only a shard's hello is of interest; it is not answered.
    func adopt(_ message: Message, from sender: Int) {
        guard case .joined(let role, _, _, _, _, _, _, _, _, _) = message else {
            if case .knows = message { return }
            return send(.refuse(.notWelcomed, "say hello first"), from: 0, to: sender)
        }
        guard role == .shard, let shard = shards[sender] else { return }
        if let claim = shard.claim {
            coordinator?.adoption?.hear(claim, at: instant)
        } else {
            coordinator?.adoption?.hear(incarnation: shard.incarnation, endpoint: shard.host.endpoint)
        }
        guard let outcome = coordinator?.adoption?.outcome(at: instant),
            case .complete(let newest, let record, let absent) = outcome
        else {
            if case .waiting(let reason)? = coordinator?.adoption?.outcome(at: instant) { note("adoption: \(reason)") }
            return
        }
        note(
            "adopted from \(newest) without \(absent): term \(record.term), committed \(record.committed), map \(record.mapVersion)"
        )
        if !absent.isEmpty {
            feats["adopted without an owner", default: 0] += 1
            isOwnerPassedOver = true
        }
        feats["database made again", default: 0] += 1
        for decision in record.decisions { database.write(decision) }
        check(database.record == record, "the decisions do not lead to the record that was made")
        isDatabaseLost = false
        stopCoordinator()
        startCoordinator()
    }
}
