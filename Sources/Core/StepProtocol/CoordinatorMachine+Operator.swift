internal import Cluster

/// What the operator orders.
extension CoordinatorMachine {
    mutating func obey(_ event: Event, _ now: Duration) -> [Action] {
        switch event {
        case .pause: decide(.paused(true))
        case .resume: resume()
        case .stop: decide(.stopping(true))
        case .drain(let member): drain(member)
        case .undrain(let member): undrain(member)
        case .rebalance: rebalance()
        case .checkpoint: orderCheckpoint()
        case .classes(let operation): order(operation)
        case .restore(let checkpoint, let step, let past, let version): restore(checkpoint, step, past, version)
        case .forget(let member): forget(member)
        case .learningRate(let rule): setLearningRate(rule)
        case .head(let order): setHead(order)
        case .view(let view): decide(.view(view))
        case .cancel: cancel()
        default: []
        }
    }

    /// Shards that no worker reached are tried again.
    private mutating func rebalance() -> [Action] {
        if record.owners.isEmpty { return [.refuseOperator("the slices are not divided yet")] }
        unreached.cutOff = unreached.cutOff.filter { owns($0.key) }
        return replan()
    }

    /// Whether there are no more steps to come.
    var isOver: Bool {
        switch activity {
        case .finishing, .finished, .failed: true
        case .train, .wait, .task: false
        }
    }

    private mutating func resume() -> [Action] {
        var actions: [Action] = []
        if record.isPaused { actions += decide(.paused(false)) }
        if record.isStopping {
            actions += decide(.stopping(false))
            goOn()
        }
        return actions
    }

    /// Leaves the end of the run, if that was reached: what is still to be done is done.
    private mutating func goOn() {
        guard isAtEnd else { return }
        if case .finishing(let writer?) = activity { ending.preferred = writer }
        state = .waiting(reason: "")
    }

    private mutating func drain(_ member: MemberID) -> [Action] {
        guard let known = record.members[member], member.role == .shard else {
            return [.refuseOperator("there is no \(member)")]
        }
        if known.isDraining { return [] }
        if isOver { return [.refuseOperator("the run is over; \(member) may simply be ended")] }
        if record.owners.isEmpty { return [.refuseOperator("\(member) owns nothing yet; it may simply be ended")] }
        if newOwners(besides: member).isEmpty {
            return [.refuseOperator("no other shard could take the slices of \(member)")]
        }
        var changed = known
        changed.isDraining = true
        return decide(.member(member, changed)) + [.event(.info, "\(member) hands its slices over")] + replan()
            + dismissDrained()
    }

    private mutating func undrain(_ member: MemberID) -> [Action] {
        guard var known = record.members[member], known.isDraining else {
            return [.refuseOperator("\(member) is not being drained")]
        }
        known.isDraining = false
        return decide(.member(member, known)) + [.event(.info, "\(member) stays")] + replan()
    }

    private mutating func orderCheckpoint() -> [Action] {
        if configuration.checkpointDirectory.isEmpty {
            return [.refuseOperator("the configuration has no checkpoint.directory")]
        }
        if record.owners.isEmpty { return [.refuseOperator("there is nothing to write yet")] }
        if case .failed = activity { return [.refuseOperator("the run has failed; start the coordinator again first")] }
        if let jobObstacle {
            return [.refuseOperator("a checkpoint is written with the job that trains: \(jobObstacle)")]
        }
        if let known = record.checkpoints.last, known.step == committed, known.classVersion == classVersion {
            return [.event(.info, "\(known.directory) is the state after step \(committed) already")]
        }
        wantsCheckpoint = true
        goOn()
        return []
    }

    private mutating func restore(
        _ directory: String?, _ step: Int?, _ past: UInt64?, _ version: Int?
    ) -> [Action] {
        let checkpoint: CoordinatorRecord.CheckpointRecord?
        if let directory {
            let known = record.checkpoints.last { $0.directory == directory }
            checkpoint =
                directory.isEmpty
                ? beginning
                : known
                    ?? step.map {
                        .init(
                            step: $0, directory: directory, classVersion: version ?? record.classVersion,
                            past: past ?? 0)
                    }
        } else {
            checkpoint = newestCheckpoint
        }
        guard let checkpoint else { return [.refuseOperator("there is no checkpoint to go back to")] }
        if record.owners.isEmpty { return [.refuseOperator("the slices are not divided yet")] }
        return giveUpMakingGood() + goBack(to: checkpoint)
    }

    private mutating func forget(_ member: MemberID) -> [Action] {
        guard member.role == .shard, record.members[member] != nil else {
            return [.refuseOperator("there is no \(member)")]
        }
        if isHeard(member) { return [.refuseOperator("\(member) is alive; use drain")] }
        if owns(member), mayPromote([member]) == nil {
            copies.givenUp.insert(member)
            return [.event(.warning, "\(member) is given up; its slices go to those who keep their copies")]
        }
        if !owns(member) {
            live[member] = nil
            return decide(.gone(member)) + [.event(.info, "\(member) is given up; it owned nothing")]
        }
        let others = newOwners(besides: member)
        if others.isEmpty { return [.refuseOperator("no other shard could take the slices of \(member)")] }
        guard let checkpoint = newestCheckpoint else {
            return [.refuseOperator("there is no checkpoint: the state of \(member) is nowhere else")]
        }
        live[member] = nil
        var actions = assign(owners(without: [member], dividedAmong: others)) + decide(.gone(member))
        actions += [.event(.warning, "\(member) is given up; its slices go to the others")]
        return actions + replan() + goBack(to: checkpoint)
    }
}
