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
            let copy = newestCopy, hasEveryOrder(copy, record)
        else { return }
        faults["the coordinator's database is lost", default: 0] += 1
        note(
            "FAULT the coordinator's database is lost; the newest copy has map \(copy.mapVersion), step \(copy.committed)"
        )
        stopCoordinator()
        database = CoordinatorProcess.Database()
        isDatabaseLost = true
        // Nobody but the record can tell the last step from one that was prepared and not committed.
        trained = max(-1, trained - 1)
        floor = max(-1, floor - 1)
        queue.insert(.startCoordinator, at: now + 1 + Int64(lossRandom.below(3_000)))
    }

    private var newestCopy: CoordinatorRecord? {
        hosts.values.filter { !$0.isCopy }.compactMap(\.recordCopy).max {
            ($0.record.term, $0.number) < ($1.record.term, $1.number)
        }?.record
    }

    /// Orders of the last moment are lost with the database: this is about everything else.
    private func hasEveryOrder(_ copy: CoordinatorRecord, _ record: CoordinatorRecord) -> Bool {
        copy.rates == record.rates && copy.operations.count == record.operations.count && copy.pasts == record.pasts
    }

    /// Only a shard's hello is of interest; it is not answered.
    func adopt(_ message: Message, from sender: Int) {
        guard case .joined(let role, _, _, _, _, _, _, _, _, _) = message else {
            if case .knows = message { return }
            return send(.refuse(.notWelcomed, "say hello first"), from: 0, to: sender)
        }
        guard role == .shard, let shard = shards[sender] else { return }
        if let claim = shard.claim {
            coordinator?.adoption?.hear(claim)
        } else {
            coordinator?.adoption?.hear(incarnation: shard.incarnation, endpoint: shard.host.endpoint)
        }
        guard let outcome = coordinator?.adoption?.outcome, case .complete(let newest, let record) = outcome else {
            if case .waiting(let reason)? = coordinator?.adoption?.outcome { note("adoption: \(reason)") }
            return
        }
        note("adopted from \(newest): term \(record.term), committed \(record.committed), map \(record.mapVersion)")
        feats["database made again", default: 0] += 1
        for decision in record.decisions { database.write(decision) }
        check(database.record == record, "the decisions do not lead to the record that was made")
        isDatabaseLost = false
        stopCoordinator()
        startCoordinator()
    }
}
