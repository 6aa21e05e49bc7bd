internal import Determinism
internal import StepProtocol

/// What happens to the processes and their links until calm is restored.
extension Simulation {
    func misfortune() {
        if isCalm { return }
        queue.insert(.misfortune, at: now + 1 + Int64(random.below(UInt64(2 * scenario.faultInterval))))
        let someWorker = pick(workers.keys.sorted())
        let someShard = pick(shards.keys.sorted())
        switch random.below(10) {
        case 0, 1:
            guard let someWorker else { return }
            happen("worker dies", someWorker)
            workers[someWorker] = nil
        case 2, 3:
            guard workers.count < 6 else { return }
            happen("worker starts", nextNode)
            startWorker()
        case 4:
            guard let someWorker, let machine = workers[someWorker]?.machine else { return }
            happen("worker leaves", someWorker)
            send(.left(machine.member, incarnation: UInt64(someWorker)), from: someWorker, to: 0)
            workers[someWorker] = nil
        case 5:
            happen("worker loses the coordinator", someWorker)
            cut(0, someWorker)
        case 6:
            happen("shard loses the coordinator", someShard)
            cut(0, someShard)
        case 7:
            happen("shard loses everyone", someShard)
            cut(-1, someShard)
        case 8:
            happen("worker loses a shard", someWorker)
            cut(someWorker, someShard)
        default:
            if scenario.shardsCrash, let someShard, let slot = shards[someShard]?.slot {
                happen("shard crashes", someShard)
                shards[someShard] = nil
                startShard(slot)
            } else {
                happen("the operator pauses", nil)
                tellCoordinator(random.below(2) == 0 ? .pause : .resume)
            }
        }
    }

    private func happen(_ what: String, _ node: Int?) {
        faults[what, default: 0] += 1
        note("FAULT \(what)\(node.map { " (node \($0))" } ?? "")")
    }

    private func pick(_ nodes: [Int]) -> Int? { nodes.isEmpty ? nil : nodes[Int(random.below(UInt64(nodes.count)))] }

    /// Short cuts are weathered by repetition, long ones outlast a lease.
    private func cut(_ a: Int?, _ b: Int?) {
        guard let a, let b else { return }
        let length = Int64(random.below(random.below(2) == 0 ? 1_000 : 8_000))
        cuts[SIMD2(Int32(min(a, b)), Int32(max(a, b)))] = now + length
    }

    func calmDown() {
        note("CALM")
        isCalm = true
        cuts = [:]
        tellCoordinator(.resume)
        while workers.count < scenario.workers { startWorker() }  // the run may still wait for them to begin
    }

    // MARK: What must hold

    /// At the moment of a commit, every shard must be prepared for exactly the attempt that is committed.
    func checkCommit(_ report: StepReport, attempted: StepID) {
        note("COMMIT \(attempted) by \(report.worldSize) workers")
        check(report.step == reports.count, "step \(report.step) is committed after \(reports.count - 1)")
        if report.step < scenario.steps {
            check(report.loss == oracle.losses[report.step], "the loss of step \(report.step) is not that of the run")
            check(
                report.gradientNorm == oracle.gradientNorms[report.step], "wrong gradient norm at step \(report.step)")
        }
        // A shard without a number has just replaced one that crashed after it had prepared.
        for shard in shards.values where shard.number != nil {
            check(
                shard.machine.prepared == attempted || shard.machine.committed == report.step,
                "\(attempted) is committed while \(shard.name) is prepared for \(shard.machine.prepared as Any)")
        }
        reports.append(report)
    }

    /// The coordinator may only say that it has finished when every shard that it can reach has committed the last step.
    func checkFinished() {
        let alive = coordinator.status(at: instant).members.filter { $0.isAlive && $0.id.role == .shard }.map(\.id)
        for shard in shards.values where shard.member.map(alive.contains) == true {
            check(shard.machine.committed == reports.count - 1, "finished while \(shard.name) has to commit")
        }
    }

    /// After the run: every shard has committed every step and holds nothing else.
    func checkEnd() {
        if let failure {
            let isLost = failure.contains("came back without its state") && scenario.shardsCrash
            check(isLost, "the run failed: \(failure)")
            return
        }
        check(reports.count == scenario.steps, "\(reports.count) of \(scenario.steps) steps are committed")
        for shard in shards.values {
            check(shard.machine.committed == scenario.steps - 1, "\(shard.name) is at \(shard.machine.committed)")
            check(shard.machine.payloadCount == 0, "\(shard.name) holds \(shard.machine.payloadCount) payloads")
        }
        for shard in shards.values {
            check(
                shard.shell?.state == shard.number.map { oracle.states[scenario.steps - 1][$0] },
                "\(shard.name) ends in another state than the undisturbed run")
        }
    }
}
