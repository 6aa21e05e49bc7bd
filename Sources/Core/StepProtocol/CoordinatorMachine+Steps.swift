internal import Cluster

/// What the world does: attempts, commits, waiting, and the end of the run.
extension CoordinatorMachine {
    /// Goes on as far as the members allow: aborts an attempt that lost a member, begins what can begin.
    mutating func proceed(_ now: Duration) -> [Action] {
        var actions: [Action] = []
        if activity == .train, let lost = lostMember { actions += abort("\(lost) is gone") }
        if activity == .train { actions += noticeCompleteJob() }
        if activity == .train, isPrepared(now) { actions += commit(now) }
        if activity == .train { actions += judgeFailure(now) }
        if activity == .train { actions += leaveOutWhoIsStuck(now) }
        actions += judgeReach(now)
        if isPromotionOver || isHeldUp && canReplaceLostOwners(now) { state = .waiting(reason: "") }
        if case .task(let task) = activity, !task.isPromotion,
            owners.contains(where: { !isAlive($0) || live[$0]?.unchecked != nil })
        {
            state = .waiting(reason: "")  // whoever is gone or has lost its state cannot do the task
        }
        if isAtEnd, let loser = shardBehindTheEnd {
            // The last steps were lost: the run is not over yet, or not any more.
            if hasSaidFinished {
                actions += [.event(.warning, "the run had finished, but \(loser) has come back without its last steps")]
            }
            state = .waiting(reason: "")
        }
        actions += completeTask(now)
        actions += pursueResults(now)
        while case .wait(let oldReason) = activity {
            if let retryAt, retryAt <= now { self.retryAt = nil }
            if record.owners.isEmpty, !isOlder {
                actions += divide()
                if case .wait = activity {} else { break }
            }
            if let promoted = promoteKeepers(now) {
                actions += promoted + completeTask(now)
                continue
            }
            if let tried = tryAgainWhoIsCutOff() { actions += tried }
            let reason = isOlder ? nil : obstacle
            if reason == nil {
                switch isOlder ? makeGood() : reconcile() {
                case .none: break
                case .act(let more):
                    actions += more
                    continue
                case .wait(let reason):
                    actions += wait(reason, instead: oldReason)
                    return actions
                }
                if retryAt == nil, let task = record.task {
                    actions += turn(to: .task(task)) + completeTask(now)
                    continue
                }
                if record.task == nil, let appointed = appointKeepers() {
                    actions += appointed
                    continue
                }
                if record.task == nil, let taken = takeUpJob() {
                    actions += taken
                    continue
                }
                if retryAt == nil, let begun = nextTask(now) {
                    actions += begun
                    actions += completeTask(now)
                    continue
                }
                if record.task != nil {
                    // Tried again in a moment.
                } else if record.isStopping || committed + 1 >= configuration.totalSteps {
                    return actions + end(now)
                }
            }
            if attempts == .fresh, let more = takeUpOrders() { actions += more }
            if let reason = reason ?? pause {
                actions += wait(reason, instead: oldReason)
                return actions
            }
            if let more = takeUpOrders() {
                actions += more
                continue
            }
            actions += begin(now)
            break
        }
        return actions
    }

    private mutating func wait(_ reason: String, instead oldReason: String) -> [Action] {
        if reason == oldReason { return [] }
        return [.event(.info, reason)] + turn(to: .waiting(reason: reason))
    }

    /// Divides the slices among the shards when enough are there for the first time.
    private mutating func divide() -> [Action] {
        let alive = shards.filter(isAlive).map(\.number)
        guard alive.count >= configuration.expectedShards else { return [] }
        let owners = Rebalance.initial(
            shards: alive, sliceCount: configuration.sliceCount, denseSliceCount: configuration.denseSliceCount)
        var actions = decide(.map(version: record.mapVersion + 1, owners: owners)) + beginFirstPast()
        if let origin = configuration.origin, committed < 0 {
            actions += goBack(
                to: .init(step: origin.step, directory: origin.directory, classVersion: origin.classVersion))
        }
        return actions
    }

    /// A shard that has come back to a run that is finished with less than its last step.
    private var shardBehindTheEnd: MemberID? {
        owners.first {
            live[$0]?.unchecked.map { !$0.hasSlices || $0.newest < committed || $0.oldest > committed } ?? false
        }
    }

    private var lostMember: MemberID? {
        if let rank = ranks.first(where: { live[$0.worker] == nil }) { return rank.worker }
        return owners.first { !isAlive($0) }
    }

    /// Why nothing can be done now, or nil.
    var obstacle: String? {
        if record.owners.isEmpty {
            let missing = configuration.expectedShards - shards.count(where: isAlive)
            return "waiting for \(missing) of \(configuration.expectedShards) shards"
        }
        let silent = owners.filter { !isAlive($0) }
        guard let first = silent.first else { return nil }
        if silent.count == 1 {
            let endpoint = record.members[first]?.endpoint ?? ""
            if let goodbye = live[first]?.goodbye, !goodbye.isEmpty {
                return
                    "\(first) at \(endpoint) \(goodbye); \(whatWaits) waits for it to return\(remedy(silent))"
                    + refusal(of: first)
            }
            return
                "\(first) at \(endpoint) does not answer; \(whatWaits) waits for it to return\(remedy(silent))"
                + refusal(of: first)
        }
        let names = silent.map { member in
            let goodbye = live[member]?.goodbye ?? ""
            return goodbye.isEmpty ? "\(member)" : "\(member) (\(goodbye))"
        }.joined(separator: ", ")
        let refused = silent.map(refusal).joined()
        return "\(names) do not answer; \(whatWaits) waits for them to return\(remedy(silent))\(refused)"
    }

    private var whatWaits: String { isAtEnd ? "the end of the run" : "step \(id.step)" }

    /// Why no attempt can begin now, or nil.
    private var pause: String? {
        if let taskProblem, retryAt != nil { return "tried again in a moment: \(taskProblem)\(alternative)" }
        if let jobObstacle { return jobObstacle }
        if let lackOfCopies { return lackOfCopies }
        let needed = max(1, hasStarted ? 1 : configuration.minimumWorkers)
        let present = workers.count(where: isAlive)
        if present < needed { return "waiting for \(Count.of(needed - present, "more worker"))" }
        if record.isPaused { return "paused after step \(committed)" }
        if retryAt != nil { return "a shard did not answer a worker; \(id) begins in a moment" }
        return nil
    }

    /// What an operator can do if the task fails again and again.
    private var alternative: String {
        guard case .restore(.some)? = record.task?.kind else { return "" }
        return ". If it is gone, `coordinator restore CHECKPOINT` goes back to another one"
    }

    private mutating func begin(_ now: Duration) -> [Action] {
        hasStarted = true
        hasSaidFinished = false
        hasBegunInTerm = true
        attempts = .begun
        skipUsedID()
        stepStart = stepStart ?? now
        let present = world(now)
        let ranks = zip(present, shares(of: present).ranges).map { worker, range in
            Plan.Rank(worker: worker, microBatches: range, incarnation: record.members[worker]?.incarnation)
        }
        return letIn(present, now) + turn(to: .training(Attempt(ranks: ranks, since: now)))
    }

    /// Ends the running attempt. The next plan has the next attempt's id, so that nothing of this one can be committed.
    mutating func abort(_ reason: String, _ level: EventLevel = .warning) -> [Action] {
        let aborted = id
        id.attempt += 1
        state = .waiting(reason: "")
        return [.event(level, "\(aborted) is aborted: \(reason)")]
    }

    // MARK: Results

    mutating func record(_ result: StepResult, from member: MemberID, _ peer: PeerID, _ now: Duration) -> [Action] {
        let answer = { (machine: Self) -> [Action] in [.send(member, peer, machine.plan)] }
        guard activity == .train, result.id == id, let rank = ranks.firstIndex(where: { $0.worker == member }),
            results[rank] == nil
        else { return answer(self) }
        if result.microBatches != ranks[rank].microBatches || result.lossSums.count != result.microBatches.count {
            let message =
                "\(id): \(member) reports \(result.lossSums.count) losses for micro-batches "
                + "\(result.microBatches), it was given \(ranks[rank].microBatches)"
            return [.refuse(peer, .malformed, message: message)]
        }
        attempt?.results[rank] = result
        live[member]?.lastResult = result
        let actions = proceed(now)
        let isAnswered = actions.contains { if case .send(member, _, _) = $0 { true } else { false } }
        return actions + (isAnswered ? [] : answer(self))
    }

    private mutating func commit(_ now: Duration) -> [Action] {
        let results = ranks.indices.compactMap { self.results[$0] }
        if let (dissenters, message) = disagreement(of: results) {
            return leaveOut(dissenters, message, now) ?? failJob(.malformed, message) ?? fail("\(id): \(message)")
        }
        var losses = [Double](repeating: 0, count: configuration.microBatchCount)
        for result in results { losses.replaceSubrange(result.microBatches, with: result.lossSums) }
        let loss = losses.reduce(0, +) / Double(configuration.batchSize)
        let norm = results[0].gradientNorm
        if !loss.isFinite || !norm.isFinite {
            let culprits = results.indices.filter { rank in !results[rank].lossSums.allSatisfy(\.isFinite) }
            return suspect(culprits, "the loss is \(loss), the gradient norm \(norm)", now)
        }
        skippedInARow = 0
        return notePaces(results)
            + finishStep(
                id,
                StepReport(
                    // Of a job's network only the job knows.
                    step: id.step, loss: loss, gradientNorm: configuration.job == nil ? norm : nil,
                    learningRate: configuration.job?.setsRate == true
                        ? results[0].learningRate ?? 0 : learningRate(id.step), head: headValues(id.step),
                    attempts: id.attempt + 1, worldSize: ranks.count,
                    seconds: (now - (stepStart ?? now)) / .seconds(1),
                    results: ranks.indices.map { StepReport.RankResult(worker: ranks[$0].worker, result: results[$0]) })
            )
    }

    /// The step has changed nothing, on every shard.
    mutating func commitSkipped(_ step: Int, _ now: Duration) -> [Action] {
        toSkip = nil
        skippedSteps += 1
        skippedInARow += 1
        return finishStep(
            .skipped(step),
            StepReport(
                step: step, loss: nil, gradientNorm: nil, learningRate: learningRate(step), head: headValues(step),
                attempts: id.attempt + 1, worldSize: 0, seconds: (now - (stepStart ?? now)) / .seconds(1), results: []))
    }

    private mutating func finishStep(_ attempt: StepID, _ report: StepReport) -> [Action] {
        var actions = decide(.committed(attempt)) + expectEvaluation(after: report.step)
        noteLastWorld()
        lastCommit = lastEvent
        if safe > record.safe { actions += decide(.safe(safe)) }
        if report.step + 1 == configuration.pauseAfter { actions += decide(.paused(true)) }
        noteStep(of: ranks)
        history.append(report)
        if history.count > configuration.lossHistory { history.removeFirst() }
        id = StepID(term: record.term, step: committed + 1, attempt: 0)
        attempts = .fresh
        stepStart = nil
        unresponsiveAttempts = 0
        complaints = [:]
        suspects = nil
        unreached.suspect = nil
        state = .waiting(reason: "")
        return actions + [.committed(report)]
    }

    mutating func recordFailure(
        of failed: StepID, from member: MemberID, _ code: RefusalCode, _ message: String, by shard: MemberID? = nil,
        _ now: Duration
    ) -> [Action] {
        if case .finishing(member?) = activity, failed == id { return failResults(message, member, now) }
        guard activity == .train, failed == id, let rank = ranks.firstIndex(where: { $0.worker == member }) else {
            return []
        }
        let what = "rank \(rank) (\(member)): \(message)"
        // The trainer throws the step away: its next attempt is another one.
        if code == .abandoned, configuration.job != nil { return abort(what, .info) }
        guard [.unresponsive, .incarnation, .notWelcomed].contains(code) else {
            let refusal = AttemptFailure.Refusal(rank: rank, code: code, message: message, shard: shard)
            // A shard refuses all ranks for what one of them sent: it knows which, and says so.
            guard let shard, owners.contains(shard) else { return act(on: refusal, now) }
            failure.refusal = failure.refusal ?? refusal
            failure.reportedAt = failure.reportedAt ?? now
            return judgeFailure(now)
        }
        // A shard whose disk is full keeps its answer back, and says why: that is not silence.
        if owners.contains(where: { live[$0]?.report?.obstacle.isEmpty == false }) { return [] }
        // Shards that say whom they wait for know better than who waits for them.
        if everyShardTells, !waitedFor(now).contains(where: { $0.rank == rank }) { return [] }
        complaints[member, default: 0] += 1
        // If all complain it is the shard: it is waited for.
        let isAlone = ranks.contains { complaints[$0.worker] == nil }
        if isAlone, complaints[member] ?? 0 >= configuration.unresponsiveLimit,
            let actions = leaveOut([rank], message, now)
        {
            return actions
        }
        postponeAttempt(now)
        return abort(what)
    }

    /// The step is tried again after a pause, which is twice as long for each attempt, up to a minute.
    mutating func postponeAttempt(_ now: Duration) {
        unresponsiveAttempts += 1
        retryAt = now + min(.seconds(60), configuration.unresponsiveBackoff * (1 << min(unresponsiveAttempts - 1, 10)))
    }

    /// Something in the step is not finite: it would be so again.
    mutating func refuseStep(_ message: String) -> [Action] {
        let what = "\(id): \(message)"
        lastSkipped = .init(step: id.step, message: message)
        guard case .skip(let limit) = configuration.onNotFinite else {
            return failJob(.notFinite, what) ?? fail(what)
        }
        if skippedInARow >= limit { return fail("\(what); \(skippedInARow) steps in a row were skipped before it") }
        toSkip = .init(step: id.step, message: message)
        return [.event(.warning, "\(what); the step is skipped")] + abort(message)
    }

    // MARK: The end

    /// Nothing can go on; everyone is told.
    mutating func fail(_ reason: String) -> [Action] {
        if case .failed = activity { return [] }
        retryAt = nil
        return decide(.failed(reason)) + [.event(.error, reason), .failed(reason: reason)]
            + turn(to: .failed(reason: reason))
    }

    /// Says once that the run is over, when no shard that can be reached has still to commit.
    mutating func finish() -> [Action] {
        guard case .finished(let unconfirmed?) = state else { return [] }
        if unconfirmed.contains(where: { isAlive(MemberID(.shard, $0)) }) { return [] }
        state = .finished(unconfirmed: nil)
        hasSaidFinished = true
        return [.finished]
    }
}
