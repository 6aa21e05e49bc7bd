internal import Cluster

/// What must hold between two events, whatever has happened.
extension CoordinatorMachine {
    /// The first invariant that does not hold, in words; nil if all do. For tests: they ask after every event.
    package func check() -> String? {
        checkRecord() ?? checkMembers() ?? checkActivity() ?? checkAttempt()
    }

    private func checkRecord() -> String? {
        if record.committed < -1 || record.committed >= max(configuration.totalSteps, 1) {
            return "step \(record.committed) of \(configuration.totalSteps) is committed"
        }
        if id.term != record.term { return "\(id) is of term \(id.term), the record of \(record.term)" }
        if id.step != record.committed + 1 { return "\(id) follows step \(record.committed)" }
        let steps = record.attempts.map(\.step)
        if !zip(steps, steps.dropFirst()).allSatisfy(<) || steps.last ?? -1 > record.committed {
            return "attempts of the steps \(steps) are known, committed is \(record.committed)"
        }
        if steps.count > CoordinatorRecord.attemptLimit { return "\(steps.count) attempts are kept" }
        if record.safe > record.committed || safe > record.committed {
            return "step \(max(safe, record.safe)) is safe, committed is \(record.committed)"
        }
        if record.pasts.contains(where: { $0.name == 0 }) { return "a past has no name" }
        if let since = record.pasts.last?.since, since > record.committed {
            return "the past begins after step \(since), committed is \(record.committed)"
        }
        if classVersion > record.operations.count {
            return "\(classVersion) operations are done of \(record.operations.count)"
        }
        return nil
    }

    private func checkMembers() -> String? {
        let slices = configuration.sliceCount + configuration.denseSliceCount
        if !record.owners.isEmpty, record.owners.count != slices {
            return "\(record.owners.count) of \(slices) slices have an owner"
        }
        for owner in Set(record.owners.values) where record.members[MemberID(.shard, owner)] == nil {
            return "shard-\(owner) owns slices and is no member"
        }
        if Set(live.keys) != Set(record.members.keys) {
            let strangers = Set(live.keys).symmetricDifference(record.members.keys).sorted()
            return "\(strangers) are members here or in the record, not in both"
        }
        for (slice, keeper) in record.keepers where !isOlder && !record.owners.values.contains(keeper) {
            return "shard-\(keeper) keeps a copy of \(slice) and owns nothing"
        }
        var moved: Set<SliceName> = []
        for move in record.moves {
            if !moved.insert(move.slice).inserted { return "\(move.slice) moves twice" }
            if move.from == move.to { return "\(move.slice) moves from \(move.from) to itself" }
            // Until everyone has said who owns what, moves are those of an old map.
            if !isOlder, record.owners[move.slice] != move.from.number {
                return "\(move.slice) moves from \(move.from) and is not there"
            }
            if record.members[move.to] == nil { return "\(move.slice) moves to \(move.to), which is no member" }
        }
        for worker in Set(leftOut.keys).union(complaints.keys) where live[worker] == nil {
            return "\(worker) is remembered and is no member"
        }
        return nil
    }

    private func checkActivity() -> String? {
        switch activity {
        case .train:
            if let task = record.task { return "\(id) is computed while task \(task.number) is decided" }
            if isOlder { return "\(id) is computed while the record is older than the cluster" }
            if ranks.isEmpty { return "\(id) is computed by nobody" }
            if let silent = owners.first(where: { !isAlive($0) }) { return "\(id) is computed without \(silent)" }
            if record.failure != nil { return "\(id) is computed, and the run has failed" }
        case .task(let task):
            if !task.isPromotion, record.task != task {
                return "task \(task.number) is announced, decided is \(record.task as Any)"
            }
        case .finishing(let writer):
            if record.task != nil { return "the run ends while a task is decided" }
            if let writer, live[writer] == nil { return "\(writer) writes the results and is gone" }
        case .finished:
            if record.task != nil { return "the run has ended while a task is decided" }
        case .failed:
            if record.failure == nil { return "the run has failed, and the record does not say so" }
        case .wait: break
        }
        if let toSkip, toSkip.step != id.step { return "step \(toSkip.step) is to be skipped, next is \(id)" }
        return nil
    }

    private func checkAttempt() -> String? {
        var next = 0
        for rank in ranks {
            if rank.microBatches.lowerBound != next {
                return "\(rank.worker) begins with micro-batch \(rank.microBatches.lowerBound), not \(next)"
            }
            next = rank.microBatches.upperBound
        }
        if !ranks.isEmpty, next != configuration.microBatchCount {
            return "\(next) of \(configuration.microBatchCount) micro-batches have a rank"
        }
        if Set(ranks.map(\.worker)).count != ranks.count { return "a worker has two ranks" }
        for (rank, result) in results where !ranks.indices.contains(rank) || result.id != id {
            return "a result of rank \(rank) of \(result.id) is kept, \(id) has \(ranks.count) ranks"
        }
        if activity == .train, let gone = ranks.first(where: { live[$0.worker] == nil }) {
            return "\(gone.worker) has a rank of \(id) and is gone"
        }
        return nil
    }
}
