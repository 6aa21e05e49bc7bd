internal import Cluster

extension CoordinatorMachine {
    /// A snapshot of the run for an operator.
    public func status(at now: Duration) -> CoordinatorStatus {
        let members = live.keys.sorted().map { describe($0, now) }
        var pending: [MemberID] = []
        var task = record.task
        if case .task(let announced) = activity { task = announced }
        if let task { pending = participants(of: task).filter { acknowledged[$0] == nil } }
        return CoordinatorStatus(
            current: id, copies: copyStatus, job: jobStatus, committed: committed, safe: safe,
            totalSteps: configuration.totalSteps,
            mapVersion: record.mapVersion, classVersion: classVersion,
            pendingOperations: record.operations.dropFirst(classVersion).map(\.operation), activity: activity,
            taskPending: pending, task: task, taskFailures: taskFailures, order: orders.last,
            isPaused: record.isPaused, isStopping: record.isStopping,
            exchange: configuration.exchange, members: members,
            moves: record.moves.map {
                .init(move: $0, received: live[$0.to]?.report?.received[$0.slice].flatMap { $0 < 0 ? nil : $0 })
            }, checkpoints: record.checkpoints, rates: record.rates,
            learningRate: configuration.job?.setsRate == true
                ? nil : learningRate(min(id.step, max(0, configuration.totalSteps - 1))),
            headChanges: record.headChanges, head: headValues(min(id.step, max(0, configuration.totalSteps - 1))),
            skippedSteps: skippedSteps,
            lastSkipped: lastSkipped, resultsProblem: ending.problem,
            missedEvaluations: evaluations.missed, straggler: straggler, waitingFor: waitingFor(now),
            stepAge: now - lastCommit, history: history)
    }

    private func describe(_ id: MemberID, _ now: Duration) -> CoordinatorStatus.Member {
        let member = live[id]
        let age = now - (member?.lastHeard ?? now)
        let rank = ranks.firstIndex { $0.worker == id }
        let isLast = rank.map { ranks.count > 1 && results.count == ranks.count - 1 && results[$0] == nil } ?? false
        let owned = owns(id) ? slices(of: id) : nil
        // A worker ends when the run does.
        let isDone = isOver && id.role == .worker
        return CoordinatorStatus.Member(
            id: id, endpoint: record.members[id]?.endpoint ?? "", age: age, isAlive: isHeard(id),
            isLate: !isDone && (isHeard(id) || id.role == .worker || owned != nil)
                && (age > configuration.lease / 2 || isLast), slices: owned?.centers,
            denseSlices: owned?.dense,
            isDraining: isDraining(id), report: member?.report, goodbye: member?.goodbye ?? "", rank: rank,
            microBatches: rank.map { ranks[$0].microBatches }, lastResult: member?.lastResult,
            leftOut: id.role == .shard ? whyCutOff(id) : whyLeftOut(id, now))
    }

    /// The member that takes more than one and a half times the median of the others, over the last steps.
    private var straggler: String? {
        var workers: [MemberID: [Double]] = [:]
        var shards: [Int: [Double]] = [:]
        for report in history.suffix(20) {
            for rank in report.results {
                let count = rank.result.microBatches.count
                if count > 0 { workers[rank.worker, default: []].append(rank.result.backboneSeconds / Double(count)) }
                for (index, seconds) in rank.result.shardSeconds.enumerated() {
                    shards[index, default: []].append(seconds)
                }
            }
        }
        let owners = owners
        let means = workers.filter { live[$0.key] != nil }.map { ("\($0.key)", mean($0.value)) }
        let shardMeans = shards.filter { owners.indices.contains($0.key) }.map {
            ("\(owners[$0.key])", mean($0.value))
        }
        return slowest(means) ?? slowest(shardMeans)
    }

    private func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(values.count, 1)) }

    private func slowest(_ members: [(String, Double)]) -> String? {
        guard members.count > 1, let slow = members.max(by: { ($0.1, $0.0) < ($1.1, $1.0) }) else { return nil }
        let others = members.filter { $0.0 != slow.0 }.map(\.1).sorted()
        return slow.1 > 1.5 * others[others.count / 2] && others[others.count / 2] > 0 ? slow.0 : nil
    }
}
