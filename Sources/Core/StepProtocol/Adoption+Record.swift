internal import Cluster

/// What is begun with.
extension Adoption {
    /// The record to begin with, of a copy and of what the shards have done since.
    func record(_ copy: CoordinatorRecord, _ there: [Claim]) -> CoordinatorRecord {
        var record = copy
        record.term = there.reduce(record.term) { max($0, $1.term, $1.held.recent.map(\.term).max() ?? 0) }
        record.nextShard = there.reduce(record.nextShard) { max($0, $1.number + 1) }
        let owners = Set(record.owners.values)
        let owning = there.filter { owners.contains($0.number) }
        let present = owning.filter { $0.held.past != 0 && $0.held.past == record.pasts.present }
        // A shard prepares a step when the one before it is committed, and nothing that it cannot go back behind is of a later one.
        record.committed = present.reduce(record.committed) {
            max($0, $1.state.newest - 1, min($1.state.oldest, $1.state.newest))
        }
        addOperations(to: &record, there, owning)
        endTask(of: &record, isEveryonePresent: present.count == owning.count)
        return record
    }

    /// Ends a task that everyone has gone beyond.
    private func endTask(of record: inout CoordinatorRecord, isEveryonePresent: Bool) {
        guard let task = record.task else { return }
        // Going back begins a past, whose name everyone has who has gone back.
        let isGoneBack = if case .restore = task.kind { isEveryonePresent } else { false }
        // A step that is skipped is committed when that is done; other tasks follow the step that they name.
        let isSkipped = task.kind == .skip && record.committed == task.step
        if isGoneBack || isSkipped || record.committed > task.step { record.task = nil }
    }

    /// Adds the operations on the classes that shards have done since the copy. The last one may be under way: it is announced again, and
    /// whoever has done it says so.
    private func addOperations(to record: inout CoordinatorRecord, _ there: [Claim], _ owning: [Claim]) {
        let newest = owning.map(\.state.newest).max() ?? -1
        while let version = owning.map(\.held.classVersion).max(), version > record.classVersion {
            let next = record.classVersion + 1
            guard let applied = there.flatMap(\.applied).last(where: { $0.version == next }) else { return }
            if record.operations.count < next || record.operations[next - 1].operation != applied.operation {
                record.operations = record.operations.prefix(next - 1) + [.init(operation: applied.operation)]
            }
            record.committed = max(record.committed, applied.step)
            if next == version, newest <= applied.step {
                let known = owning.filter { $0.held.classVersion >= next }.map(\.held.lastTask).max() ?? 0
                let number = max(known, record.task?.number ?? record.nextTask)
                record.apply(
                    .task(BoundaryTask(number: number, step: applied.step, kind: .classes(applied.operation))))
                return
            }
            if case .classes = record.task?.kind { record.task = nil }
            record.operations[next - 1].afterStep = applied.step
            record.classVersion = next
        }
    }
}

extension CoordinatorRecord {
    /// The decisions that lead to this record.
    public var decisions: [Decision] {
        var decisions: [Decision] = [.term(term, committed: committed), .attempts(attempts)]
        if mapVersion > 0 || !owners.isEmpty { decisions.append(.map(version: mapVersion, owners: owners)) }
        decisions += members.sorted { $0.key < $1.key }.map { .member($0.key, $0.value) }
        // Numbers that were given once are not given again.
        for last in [MemberID(.shard, nextShard - 1), MemberID(.worker, nextWorker - 1)]
        where last.number >= 0 && members[last] == nil {
            decisions += [.member(last, MemberRecord(incarnation: 0, endpoint: "")), .gone(last)]
        }
        if nextTask > 1 {
            decisions.append(.task(BoundaryTask(number: nextTask - 1, step: committed, kind: .skip)))
        }
        decisions += [
            .task(task), .moves(moves), .operations(operations, classVersion: classVersion), .checkpoints(checkpoints),
            .keepers(keepers), .rates(rates), .head(headChanges), .paused(isPaused), .stopping(isStopping),
            .failed(failure),
            .results(step: resultsStep),
            .pasts(pasts), .safe(safe), .paces(paces), .jobs(jobs), .view(view),
        ]
        return decisions
    }
}
