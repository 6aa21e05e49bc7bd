import MemberSupport
import ParameterStore
import ProcessSupport
import ShardModel
import StepProtocol
import Wire

/// What the shard says of itself to the coordinator.
extension ShardService {
    func beat() {
        nextHeartbeat = .now + (welcome?.heartbeatInterval ?? .seconds(1))
        tellWhatIsHeld()
        guard let welcome, coordinator.isWelcomed else { return }
        let values = figures.values
        noteTraffic()
        // Before the state is made there is nothing to report: the coordinator knows what the hello said.
        var report = session.report(durable: values.durable, obstacle: obstacle, at: now)
        report?.problem = problem(values)
        report?.incidents = values.incidents
        report?.lastIncident = values.lastIncident
        coordinator.send(
            .heartbeat(
                Heartbeat(
                    member: welcome.member, incarnation: incarnation, statistics: statistics(values), report: report,
                    term: hello.term, coordinator: hello.coordinator, record: record.id, vote: record.vote)))
        let (box, figures, mailbox) = (model, figures, mailbox)
        compute.submit {
            guard let model = box.model else { return }
            model.tend()
            figures.update(model)
            if model.isLogLost { mailbox.post(.broken(model.diskProblem)) }
        }
    }

    private func statistics(_ values: ShardFigures.Values) -> [String: Double] {
        var statistics: [String: Double] = [
            "memory_bytes": Double(values.memoryBytes), "log_bytes": Double(values.logBytes),
            "snapshot_step": Double(values.snapshotStep),
            "resident_bytes": Double(ProcessMemory.residentBytes),
            "peak_resident_bytes": Double(ProcessMemory.peakResidentBytes),
            "refused": Double(server.counters.refusedTotal),
        ]
        if let tail = store?.tornTail { statistics["torn_bytes"] = Double(tail.byteCount) }
        if values.restoring.loadSeconds > 0 {
            statistics["load_seconds"] = values.restoring.loadSeconds
            statistics["replay_seconds"] = values.restoring.replaySeconds
            statistics["replayed_steps"] = Double(values.restoring.replayedSteps)
        }
        return statistics
    }

    /// What is wrong although steps go on, or empty.
    private func problem(_ values: ShardFigures.Values) -> String {
        (passedOver.map { "\($0)" } + [values.problem].filter { !$0.isEmpty }).joined(separator: "; ")
    }
}
