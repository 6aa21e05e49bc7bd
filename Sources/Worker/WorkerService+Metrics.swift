import Monitoring
import StepProtocol
import Wire

/// What the worker says of itself over HTTP.
extension WorkerService {
    /// Tells `/healthz`, `/readyz` and `/metrics` how things are; once in every turn of the loop.
    func makeKnown() {
        let isWelcome = welcome != nil && coordinator.isWelcomed
        health.turn(obstacle: isWelcome ? nil : "not welcomed by the coordinator")
        figures.update {
            $0.member = welcome.map { "\($0.member)" } ?? ""
            $0.rank = rank
            $0.committed = machine?.plan?.committed ?? -1
        }
    }

    /// The figures of this worker. From any thread.
    func addMetrics(to text: inout MetricsText) {
        typealias Sample = MetricsText.Sample
        let values = figures.values
        text.add(
            "partialfc_member_info", .gauge, "The name in the cluster, as a label.",
            values.member.isEmpty ? [] : [Sample(1, ("member", values.member))])
        text.add("partialfc_rank", .gauge, "Its rank in the world.", values.rank.map(Double.init))
        text.add(
            "partialfc_committed_step", .gauge, "The last committed step that it knows of, -1 before the first.",
            Double(values.committed))
        text.add(
            "partialfc_steps_total", .counter, "Steps that it has computed, repeated ones too.", Double(values.steps))
        text.add(
            "partialfc_micro_batches_total", .counter, "Micro-batches that it has computed.",
            Double(values.microBatches))
        text.add(
            "partialfc_step_phase_seconds_total", .counter,
            "Where it spent its steps: in the backbone, waiting for shards to exchange or to update.",
            [
                Sample(values.backboneSeconds, ("phase", "backbone")),
                Sample(max(0, values.exchangeSeconds - values.updateSeconds), ("phase", "exchange")),
                Sample(values.updateSeconds, ("phase", "update")),
            ])
        text.add("partialfc_step_seconds", "Its steps, from the plan to the last shard's answer.", values.durations)
        text.add(
            "partialfc_replaced_images_total", .counter, "Images that did not decode and were replaced.",
            Double(values.replacedImages))
        text.add(
            "partialfc_left_out_samples", .gauge, "Samples that were left out when the data were opened.",
            Double(values.leftOutSamples))
        text.add(
            "partialfc_left_out_identities", .gauge, "Identities without an image that can be read, as far as known.",
            Double(values.leftOutIdentities))
    }
}
