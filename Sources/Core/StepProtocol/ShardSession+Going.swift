internal import Cluster

/// How a shard goes, and how it begins anew when others have what it held.
extension ShardSession {
    /// The process is told to end: the slices go to other shards first, if the cluster trains and has some. Told again it goes at once.
    mutating func stop(_ reason: String, _ mayDrain: Bool, _ now: Duration) -> [Action] {
        switch departure {
        case .none, .wasCalledOff: break
        case .asked, .draining, .handedOver, .beginningAnew: return leave(reason)
        }
        guard mayDrain, let member, machine?.ownsSlices == true else { return leave(reason) }
        switch machine?.plan?.activity {
        case .finishing, .finished, .failed, nil: return leave(reason)
        case .train, .wait, .task: break
        }
        departure = .asked(until: now + timing.drainPatience)
        return [.askToDrain(member)]
    }

    mutating func takeAnswer(_ isAccepted: Bool, _ text: String) -> [Action] {
        switch departure {
        case .wasCalledOff:
            // A coordinator that knows nothing of the drain refuses the wish to stay, which is as good.
            departure = .none
            return [.note(isGoing: false)]
        case .asked where isAccepted:
            departure = .draining
            return [.note(isGoing: true), .say(.info, "handing the slices over")]
        case .asked: return leave("nobody can take the slices: \(text)")
        case .none, .draining, .handedOver, .beginningAnew: return []
        }
    }

    /// Goes at once. With a directory nothing is lost.
    mutating func leave(_ reason: String) -> [Action] {
        var actions: [Action] = [.say(.info, "stopping: \(reason)")]
        if let plan = machine?.plan, let mine = plan.shards.first(where: { $0.shard == member }) {
            let text =
                "this shard owns slices \(mine.slices) and dense slices \(mine.denseSlices), which are nowhere else: the cluster "
                + "waits for it to come back with its directory"
            actions.append(.say(.warning, text))
            let moves = plan.moves.count { $0.from == mine.shard || $0.to == mine.shard }
            if moves > 0 {
                actions.append(.say(.warning, "\(moves) slices were on their way to or from it; that begins anew"))
            }
        }
        return actions + goodbye(reason, 0)
    }

    /// Ends the process for an error, and tells the coordinator.
    mutating func fail(_ problem: String, _ code: Int32) -> [Action] {
        [.say(.error, problem)] + goodbye(problem, code)
    }

    private mutating func goodbye(_ reason: String, _ code: Int32) -> [Action] {
        (member.map { [.leave($0, reason: reason, exitCode: code)] } ?? []) + end(code)
    }

    mutating func end(_ code: Int32) -> [Action] {
        isOver = true
        return [.end(exitCode: code)]
    }

    // MARK: Leaving an empty directory

    /// Others own everything that this shard owned: it leaves its directory empty, for another shard, and goes.
    mutating func handOver() -> [Action] {
        let said = Action.say(.info, "every slice is handed over: going")
        departure = .handedOver
        guard directory != nil else { return [said] + end(0) }
        // If this process is killed before it has tidied up, the next one knows.
        return [said, .note(isGoing: true), .giveUp]
    }

    /// After everything is handed over only that the directory is empty counts, or that there is no time for that.
    mutating func isLast(_ event: Event) -> [Action] {
        switch event {
        case .gaveUp(nil): [.note(isGoing: false)] + end(0)
        case .gaveUp(let problem?): [.say(.warning, problem)] + end(0)
        case .stop: end(0)
        default: []
        }
    }

    /// The coordinator does not let this process in. If it does not know this shard any more, and the shard owned nothing or was on its
    /// way out, others own everything that is in its directory: it joins anew, without that.
    mutating func turnAway(_ code: RefusalCode, _ message: String) -> [Action] {
        if code == .drained { return handOver() }
        let isOthers = directory.map { $0.holdsSlices && (!$0.ownsSlices || $0.isGoing) } ?? false
        if code == .stateLost, member == nil, isOthers {
            departure = .beginningAnew(refusal: message)
            return [.giveUp]
        }
        return [.say(.error, "the coordinator refused this shard: \(message)")] + end(ExitCode.refused)
    }

    mutating func beginAnew(_ problem: String?) -> [Action] {
        guard case .beginningAnew(let refusal) = departure else { return [] }
        if let problem {
            let text = "the coordinator refused this shard: \(refusal)"
            return [.say(.error, problem), .say(.error, text)] + end(ExitCode.refused)
        }
        (departure, directory) = (.none, Directory())
        let text = "what is in the directory went to other shards: joining without it"
        return [.note(isGoing: false), .say(.info, text), .greet]
    }
}
