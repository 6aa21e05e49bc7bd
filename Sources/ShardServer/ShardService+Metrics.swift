import Monitoring
import ParameterStore
import ShardModel
import StepProtocol
import Wire

/// What the shard says of itself over HTTP.
extension ShardService {
    /// Tells `/healthz`, `/readyz` and `/metrics` how things are; once in every turn of the loop.
    func makeKnown() {
        health.turn(obstacle: waitsFor)
        figures.update(
            ShardFigures.LoopValues(
                member: session.member.map { "\($0)" } ?? "", committed: machine?.committed ?? -1, obstacle: obstacle))
    }

    /// What keeps it from serving steps, nil if nothing does.
    private var waitsFor: String? {
        if !coordinator.isWelcomed { return "not welcomed by the coordinator" }
        if machine == nil { return "its slices are being loaded" }
        return obstacle.isEmpty ? nil : obstacle
    }

    /// The figures of this shard. From any thread.
    func addMetrics(to text: inout MetricsText) {
        let (values, loop) = (figures.values, figures.loopValues)
        text.add(
            "partialfc_member_info", .gauge, "The name in the cluster, as a label.",
            loop.member.isEmpty ? [] : [MetricsText.Sample(1, ("member", loop.member))])
        text.add(
            "partialfc_committed_step", .gauge, "The last committed step, -1 before the first.", Double(loop.committed))
        text.add(
            "partialfc_durable_step", .gauge, "The last step that a power cut cannot take from this shard.",
            Double(min(values.durable, loop.committed)))
        text.add(
            "partialfc_model_bytes", .gauge, "Memory of the rows, the parameters and what the optimiser keeps.",
            Double(values.memoryBytes))
        text.add("partialfc_log_bytes", .gauge, "Length of its log.", Double(values.logBytes))
        text.add("partialfc_snapshot_step", .gauge, "The step of its oldest snapshot.", Double(values.snapshotStep))
        text.add(
            "partialfc_snapshot_failed", .gauge, "Whether the last snapshot could not be written.",
            values.snapshotProblem.isEmpty ? 0 : 1)
        text.add(
            "partialfc_disk_incidents_total", .counter,
            "Syncs of its log and snapshots that failed and were, or will be, done again.", Double(values.incidents))
        text.add(
            "partialfc_leftover_files_total", .counter, "Files that nobody needed and that it removed.",
            Double(values.removedLeftovers))
        text.add(
            "partialfc_torn_bytes", .gauge, "What was cut off the log at its start: a write that a crash interrupted.",
            Double(store?.tornTail?.byteCount ?? 0))
        text.add(
            "partialfc_class_version", .gauge, "Class operations that it has applied.", Double(values.classVersion))
        text.add(
            "partialfc_blocked", .gauge, "Whether something, such as a full disk, keeps it from preparing steps.",
            loop.obstacle.isEmpty ? 0 : 1)
        text.add(
            "partialfc_load_seconds", .gauge, "What its start cost, or a promotion since: to load.",
            values.restoring.loadSeconds)
        text.add(
            "partialfc_replay_seconds", .gauge, "What its start cost, or a promotion since: to replay the log.",
            values.restoring.replaySeconds)
        text.add(
            "partialfc_replayed_steps", .gauge, "Steps that were replayed then.",
            Double(values.restoring.replayedSteps))
        let counters = server.counters
        text.addMessages(
            received: counters.received, sent: counters.sent, bytesIn: counters.bytesIn, bytesOut: counters.bytesOut,
            unfinished: counters.unfinished, overfull: counters.overfull,
            refused: Dictionary(uniqueKeysWithValues: counters.rejected.map { ("\($0.key)", $0.value) }),
            turnedAway: counters.turnedAwayByName, ended: counters.endedByName, unaccepted: counters.unaccepted,
            ignored: counters.ignored, connections: counters.connections)
    }
}
