/// What the world does: attempts, commits, waiting, and the end of the run.
extension CoordinatorMachine {
    /// Goes on as far as the members allow: aborts an attempt that lost a member, begins one that can begin.
    mutating func proceed(_ now: Duration) -> [Action] {
        var actions: [Action] = []
        if activity == .train, let lost = lostMember { actions += abort("\(lost) is gone") }
        guard case .wait(let oldReason) = activity else { return actions }
        if isStopping || committed + 1 >= configuration.totalSteps { return actions + end() }
        if let retryAt, retryAt <= now { self.retryAt = nil }
        let isNewMap = !hasSliceMap && shards.allSatisfy { $0?.isAlive == true }
        if isNewMap { hasSliceMap = true }
        if let reason = obstacle {
            if reason == oldReason && !isNewMap { return actions }
            activity = .wait(reason: reason)
            return actions + [.event(.info, reason)] + broadcast()
        }
        return actions + begin(now)
    }

    private var lostMember: MemberID? {
        if let rank = ranks.first(where: { workers[$0.worker.number] == nil }) { return rank.worker }
        return shards.firstIndex { $0?.isAlive != true }.map { MemberID(.shard, $0) }
    }

    /// Why no attempt can begin now, or nil.
    private var obstacle: String? {
        let missing = shards.count { $0 == nil }
        if missing > 0 { return "waiting for \(missing) of \(shards.count) shards" }
        if let silent = shards.firstIndex(where: { $0?.isAlive == false }), let shard = shards[silent] {
            let name = MemberID(.shard, silent)
            return "\(name) at \(shard.endpoint) does not answer; step \(id.step) waits for it to return"
        }
        let needed = hasStarted ? 1 : configuration.minimumWorkers
        if workers.count < max(1, needed) { return "waiting for \(max(1, needed) - workers.count) more workers" }
        if isPaused { return "paused after step \(committed)" }
        if retryAt != nil { return "a shard did not answer a worker; \(id) begins in a moment" }
        return nil
    }

    private mutating func begin(_ now: Duration) -> [Action] {
        hasStarted = true
        activity = .train
        results = [:]
        stepStart = stepStart ?? now
        let numbers = workers.keys.sorted()
        let count = configuration.microBatchCount
        ranks = numbers.indices.map { rank in
            let range = count * rank / numbers.count..<count * (rank + 1) / numbers.count
            return Plan.Rank(worker: MemberID(.worker, numbers[rank]), microBatches: range)
        }
        return broadcast()
    }

    /// Ends the running attempt. The next plan has the next attempt's id, so that nothing of this one can be committed.
    mutating func abort(_ reason: String) -> [Action] {
        let aborted = id
        id.attempt += 1
        ranks = []
        results = [:]
        activity = .wait(reason: "")
        return [.event(.warning, "\(aborted) is aborted: \(reason)")]
    }

    // MARK: Results

    mutating func record(_ result: StepResult, from member: MemberID, _ peer: Peer, _ now: Duration) -> [Action] {
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
        results[rank] = result
        workers[member.number]?.lastResult = result
        guard results.count == ranks.count else { return answer(self) }
        let actions = commit(now) + proceed(now)
        let isAnswered = actions.contains { if case .send(member, _, _) = $0 { true } else { false } }
        return actions + (isAnswered ? [] : answer(self))
    }

    private mutating func commit(_ now: Duration) -> [Action] {
        let results = ranks.indices.compactMap { self.results[$0] }
        for rank in results.indices
        where results[rank].gradientNorm.bitPattern != results[0].gradientNorm.bitPattern {
            return fail(
                "\(id): rank \(rank) (\(ranks[rank].worker)) has gradient norm \(results[rank].gradientNorm), rank 0 "
                    + "(\(ranks[0].worker)) \(results[0].gradientNorm): they did not compute with the same parameters")
        }
        var losses = [Double](repeating: 0, count: configuration.microBatchCount)
        for result in results { losses.replaceSubrange(result.microBatches, with: result.lossSums) }
        let loss = losses.reduce(0, +) / Double(configuration.batchSize)
        let norm = results[0].gradientNorm
        if !loss.isFinite || !norm.isFinite { return fail("\(id): the loss is \(loss), the gradient norm \(norm)") }
        let report = StepReport(
            step: id.step, loss: loss, gradientNorm: norm,
            learningRate: configuration.learningRate(id.step), attempts: id.attempt + 1, worldSize: ranks.count,
            seconds: (now - (stepStart ?? now)) / .seconds(1),
            results: ranks.indices.map { StepReport.RankResult(worker: ranks[$0].worker, result: results[$0]) })
        committed = id.step
        history.append(report)
        if history.count > configuration.lossHistory { history.removeFirst() }
        id = StepID(step: committed + 1, attempt: 0)
        ranks = []
        self.results = [:]
        stepStart = nil
        unresponsiveAttempts = 0
        activity = .wait(reason: "")
        return [.committed(report)]
    }

    mutating func recordFailure(
        of failed: StepID, from member: MemberID, _ code: RefusalCode, _ message: String, _ now: Duration
    ) -> [Action] {
        guard activity == .train, failed == id, let rank = ranks.firstIndex(where: { $0.worker == member }) else {
            return []
        }
        let what = "\(id): rank \(rank) (\(member)): \(message)"
        guard code == .unresponsive else { return fail(what) }
        unresponsiveAttempts += 1
        if unresponsiveAttempts > configuration.unresponsiveLimit {
            return fail("\(what); given up after \(unresponsiveAttempts) attempts")
        }
        retryAt = now + configuration.unresponsiveBackoff * (1 << min(unresponsiveAttempts - 1, 10))
        return abort(what)
    }

    // MARK: The end

    /// Nothing can go on; everyone is told.
    mutating func fail(_ reason: String) -> [Action] {
        if case .failed = activity { return [] }
        activity = .failed(reason: reason)
        ranks = []
        retryAt = nil
        return [.event(.error, reason), .failed(reason: reason)] + broadcast()
    }

    private mutating func end() -> [Action] {
        activity = .finished
        retryAt = nil
        unconfirmedShards = Set(shards.indices)
        return [.event(.info, "finished after step \(committed)")] + broadcast()
    }

    /// The shard has heard that the run is finished: it has committed the last step.
    mutating func confirm(_ number: Int) {
        if activity == .finished { unconfirmedShards?.remove(number) }
    }

    /// Says once that the run is over, when no shard that can be reached has still to commit.
    mutating func finish() -> [Action] {
        guard let unconfirmed = unconfirmedShards else { return [] }
        if unconfirmed.contains(where: { shards[$0]?.isAlive == true }) { return [] }
        unconfirmedShards = nil
        return [.finished]
    }
}
