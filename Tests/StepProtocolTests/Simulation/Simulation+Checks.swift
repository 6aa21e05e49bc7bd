internal import Cluster
internal import Determinism
internal import StepProtocol

/// What must hold.
extension Simulation {
    /// At the moment of a commit, every shard that owns slices must be prepared for it, or have it in its log.
    func checkCommit(_ report: StepReport, attempted: StepID) {
        note("COMMIT \(attempted) by \(report.worldSize) workers")
        commits += 1
        let step = report.step
        reports.removeAll { $0.step >= step }
        check(step > trained || hasLostSteps, "step \(step) is done again, and nothing was lost")
        check(
            step > floor || scenario.durability != .steps,
            "step \(step) is done again, behind the task after step \(floor)")
        // A job may have taken over with the same decisions.
        trained = min(step, database.record?.committed ?? step)
        noteJob(report, attempted: attempted)
        if scenario.variesInputs, !scenario.hasJobs, report.loss != nil {
            world.oracle.set(inputs: Toy.inputs(of: attempted), of: step)
        }
        check(step < scenario.steps, "step \(step) of \(scenario.steps) is committed")
        check(report.learningRate == world.oracle.learningRate(step), "wrong learning rate at step \(step)")
        check(report.head == world.oracle.head(step), "wrong values of the head at step \(step)")
        check(report.loss == world.oracle.loss(step), "the loss of step \(step) is not that of the run")
        if report.loss == nil {
            floor = max(floor, trained)
        } else if !scenario.hasJobs {
            check(report.gradientNorm == world.oracle.gradientNorm(step), "wrong gradient norm at step \(step)")
        }
        if scenario.losesPowerAfterRetries, attempted.attempt > 0, !isCalm {
            queue.insert(.blackout, at: now + Int64(retryRandom.below(100)))
        }
        let owners = Set((database.record?.owners ?? [:]).values)
        for host in hosts.values
        where host.disk.number.map(owners.contains) == true && !host.hasLost && !host.isReplaced && !host.isCopy {
            if let shard = shards.values.first(where: { $0.host === host }), isMember(shard),
                let machine = shard.machine
            {
                check(
                    machine.prepared?.step == step || machine.committed >= step,
                    "\(attempted) is committed while \(shard.name) is prepared for \(machine.prepared as Any)")
            } else if host.logs, !isNumberTaken(of: host) {
                check(host.disk.newest >= step, "\(attempted) is committed and \(host.endpoint) has not logged it")
            }
        }
        reports.append(report)
    }

    /// Whether another process is the shard of this host's number: a database that was put back gives numbers again.
    private func isNumberTaken(of host: ShardHost) -> Bool {
        shards.values.contains { $0.host !== host && $0.member?.number == host.disk.number && isMember($0) }
    }

    /// The cluster resumes from steps whose commits the coordinator has lost: the attempts that count are those that shards have.
    func observeAttempts(_ steps: ClosedRange<Int>) {
        guard scenario.variesInputs else { return }
        let known = hosts.values.sorted { $0.index < $1.index }.flatMap { host in
            let shell = shards.values.first { $0.host === host }?.shell
            return host.logs ? (shell?.disk ?? host.disk).effective : shell?.remembered ?? []
        }
        for step in steps where step >= 0 {
            let records = known.filter { $0.step == step && $0.kind != .classes }
            if let record = records.first, record.kind != .skip {
                let inputs = scenario.hasJobs ? inputs(ofTerm: record.id.term) : Toy.inputs(of: record.id)
                if let inputs { world.oracle.set(inputs: inputs, of: step) }
            }
        }
    }

    /// The coordinator may only say that it has finished when every shard that it can reach has committed the last step.
    func checkFinished() {
        guard let machine = coordinator?.machine else { return }
        let final = world.oracle.state(after: scenario.steps - 1)
        if !scenario.hasJobs { checkResults(final) }
        let alive = machine.status(at: instant).members.filter { $0.isAlive && $0.id.role == .shard }.map(\.id)
        for shard in shards.values
        where shard.member.map(alive.contains) == true && isMember(shard) && !shard.shell.owned.isEmpty {
            check(
                shard.machine?.committed == scenario.steps - 1,
                "finished while \(shard.name) has committed \(shard.machine?.committed as Any)")
        }
    }

    private func checkResults(_ final: Words) {
        check(results?.step == scenario.steps - 1, "finished, and there are results of step \(results?.step as Any)")
        check(
            results?.parameters == Words(final[Toy.rows(Toy.slices).lowerBound...]),
            "the results are not those of the undisturbed run")
    }

    /// A worker writes the results, whole or not at all.
    ///
    /// - Returns: why it could not.
    func writeResults(_ parameters: Words, after step: Int) -> String? {
        if !isCalm && random.below(4) == 0 {
            feats["results not written", default: 0] += 1
            return "the disk is full"
        }
        feats["results written", default: 0] += 1
        if scenario.sabotage != .saysResultsAreWritten { results = (step, parameters) }
        return nil
    }

    /// Finished, and shards that could not be reached then have heard of it.
    var isOver: Bool {
        isFinished && coordinator != nil
            && shards.values.allSatisfy {
                !isMember($0)
                    || $0.queue.isEmpty && $0.machine?.mapVersion == database.record?.mapVersion
                        && ($0.shell.owned.isEmpty || $0.machine?.committed == scenario.steps - 1)
            } && ownersRun
    }

    /// Whether this process is the shard of its number, and not one that was stopped until another took its place.
    func isMember(_ shard: ShardProcess) -> Bool {
        shard.member.map { coordinator?.machine.isMember($0, incarnation: shard.incarnation) == true } ?? false
    }

    private var ownersRun: Bool {
        let numbers = Set(shards.values.filter(isMember).compactMap { $0.member?.number })
        return (database.record?.owners ?? [:]).values.allSatisfy(numbers.union(lostNumbers).contains)
    }

    /// After the run: every slice has one owner, in the state of the undisturbed run.
    func checkEnd() {
        if let failure {
            check(false, "the run failed: \(failure)")
            return
        }
        let last = database.record?.committed ?? -1
        check(last == scenario.steps - 1, "the run ends after step \(last) of \(scenario.steps)")
        let owners = database.record?.owners ?? [:]
        let final = world.oracle.state(after: scenario.steps - 1)
        for slice in 0..<scenario.sliceCount {
            let name = Toy.name(slice)
            let owner = shards.values.first { isMember($0) && $0.member?.number == owners[name] }
            // It was lost when the run was over.
            if let number = owners[name], owner == nil, lostNumbers.contains(number) { continue }
            check(owner?.shell.owned.contains(slice) == true, "\(name) is not at shard-\(owners[name] as Any)")
            if let owner {
                check(
                    owner.shell.words[Toy.rows(slice)] == final[Toy.rows(slice)],
                    "\(owner.name) ends with another \(name) than the undisturbed run")
            }
        }
        for shard in shards.values where isMember(shard) {
            check(
                shard.machine?.payloadCount ?? 0 == 0,
                "\(shard.name) holds \(shard.machine?.payloadCount ?? 0) payloads")
        }
    }
}
