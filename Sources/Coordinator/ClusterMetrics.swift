import ArgumentParser
import Monitoring
import OperatorStatus
import Wire

/// `/metrics` of the whole cluster.
enum ClusterMetrics {
    private typealias Sample = MetricsText.Sample

    static func text(
        _ snapshot: ClusterMonitor.Snapshot, _ counts: ClusterMonitor.Counts, isReady: Bool, turnAge: Double,
        http: [Int: Int]
    ) -> MetricsText {
        var text = MetricsText()
        text.addBuild(program: "coordinator", version: CoordinatorCommand.configuration.version)
        addRun(snapshot.status, &text)
        addCounts(counts, &text)
        addEvents(snapshot.status, &text)
        addShards(snapshot.status.shards, &text)
        addWorkers(snapshot.status.workers, &text)
        text.add("partialfc_ready", .gauge, "Whether this coordinator can do its work.", isReady ? 1 : 0)
        text.add("partialfc_loop_age_seconds", .gauge, "Since the last turn of this coordinator's loop.", turnAge)
        let counters = snapshot.counters
        text.addMessages(
            received: counters.received, sent: counters.sent, bytesIn: counters.bytesIn, bytesOut: counters.bytesOut,
            unfinished: counters.unfinished, overfull: counters.overfull,
            refused: Dictionary(uniqueKeysWithValues: counters.rejected.map { ("\($0.key)", $0.value) }),
            turnedAway: counters.turnedAwayByName, ended: counters.endedByName, unaccepted: counters.unaccepted,
            ignored: counters.ignored, connections: counters.connections)
        text.addHTTP(http)
        text.addProcess()
        return text
    }

    private static let states = ["waiting", "training", "paused", "stopping", "finishing", "finished", "failed"]

    private static func addRun(_ status: ClusterStatus, _ text: inout MetricsText) {
        text.add(
            "partialfc_run_info", .gauge, "The run, as labels.",
            [Sample(1, ("cluster_id", status.clusterID), ("exchange", status.exchange))])
        text.add(
            "partialfc_run_state", .gauge, "1 for the state that the run is in.",
            states.map { Sample(status.state == $0 ? 1 : 0, ("state", $0)) })
        text.add(
            "partialfc_run_steps", .gauge, "Steps that the run will have; 0 if nobody knows.", Double(status.totalSteps)
        )
        text.add(
            "partialfc_committed_step", .gauge, "The last committed step, -1 before the first.",
            Double(status.committed))
        text.add(
            "partialfc_safe_step", .gauge, "The newest step that a power cut cannot take from any shard.",
            Double(status.safe))
        if let job = status.job {
            text.add("partialfc_job_ranks", .gauge, "Ranks of the job that trains.", Double(job.worldSize))
            text.add("partialfc_job_missing_ranks", .gauge, "Those that are not there.", Double(job.missingRanks.count))
            text.add("partialfc_job_begun_step", .gauge, "The step after which the job began.", Double(job.since))
        }
        if let copies = status.copies {
            text.add("partialfc_slices", .gauge, "Slices of class centers and of the backbone.", Double(copies.slices))
            text.add(
                "partialfc_copied_slices", .gauge, "Those with a second copy that counts.", Double(copies.complete))
            text.add(
                "partialfc_replay_steps", .gauge, "Steps to do again on the oldest copy after a loss.",
                copies.stepsToReplay.map(Double.init))
        }
        if let standby = status.standby {
            text.add(
                "partialfc_standby_in_step", .gauge, "Whether the standby has every decision of the coordinator.",
                standby.isInStep ? 1 : 0)
            text.add(
                "partialfc_standby_age_seconds", .gauge, "Since the standby of the coordinator was heard.", standby.age)
        }
        text.add("partialfc_term", .gauge, "Starts of the coordinator and goings back.", Double(status.term))
        text.add("partialfc_attempt", .gauge, "Attempt of the step in progress, from 0.", Double(status.attempt))
        text.add("partialfc_classes", .gauge, "Classes, with retired ones.", Double(status.classes))
        text.add("partialfc_loss", .gauge, "Mean loss of the last committed step.", status.loss)
        text.add("partialfc_learning_rate", .gauge, "Of the last committed step.", status.learningRate.map(Double.init))
        text.add(
            "partialfc_next_learning_rate", .gauge, "Of the step in progress or to come.",
            status.nextLearningRate.map(Double.init))
        text.add(
            "partialfc_learning_rate_changes", .gauge, "Changes of the learning rate by operators.",
            Double(status.learningRateChanges.count))
        text.add(
            "partialfc_head", .gauge, "Values of the head in the step in progress or to come.",
            (status.head?.values ?? []).map { Sample($0.value, ("value", $0.name)) })
        text.add(
            "partialfc_head_changes", .gauge, "Changes of the head's values by operators.",
            Double(status.headChanges?.count ?? 0))
        text.add(
            "partialfc_gradient_norm", .gauge, "Norm of the backbone's gradient before clipping.", status.gradientNorm)
        text.add(
            "partialfc_samples_per_second", .gauge, "Over the last committed steps.", status.samplesPerSecond)
        text.add(
            "partialfc_remaining_seconds", .gauge, "Until the last step, at that speed.", status.secondsLeft)
        text.add(
            "partialfc_evaluation", .gauge, "Figures of the last evaluation of every set.",
            status.evaluations.flatMap { evaluation in
                evaluation.values.sorted { $0.key < $1.key }.map {
                    Sample($0.value, ("set", evaluation.name), ("figure", $0.key))
                }
            })
        text.add(
            "partialfc_evaluation_step", .gauge, "The step after which every set was evaluated last.",
            status.evaluations.map { Sample(Double($0.step), ("set", $0.name)) })
    }

    private static func addCounts(_ counts: ClusterMonitor.Counts, _ text: inout MetricsText) {
        text.add("partialfc_steps_total", .counter, "Steps that were committed.", Double(counts.steps))
        text.add(
            "partialfc_step_attempts_total", .counter,
            "Attempts of these steps: more than steps if some were repeated.",
            Double(counts.attempts))
        text.add("partialfc_samples_total", .counter, "Samples that were trained on.", Double(counts.samples))
        text.add(
            "partialfc_step_phase_seconds_total", .counter,
            "Where the slowest worker of every step spent it: in the backbone, waiting for shards to exchange or to update.",
            [
                Sample(counts.backboneSeconds, ("phase", "backbone")),
                Sample(max(0, counts.exchangeSeconds - counts.updateSeconds), ("phase", "exchange")),
                Sample(counts.updateSeconds, ("phase", "update")),
            ])
        text.add("partialfc_step_seconds", "From a step's plan to its commit.", counts.durations)
    }

    private static func addEvents(_ status: ClusterStatus, _ text: inout MetricsText) {
        text.add(
            "partialfc_skipped_steps_total", .counter, "Steps that changed nothing because a value was not finite.",
            Double(status.skippedSteps))
        text.add("partialfc_moving_slices", .gauge, "Slices on their way to another shard.", Double(status.moves.count))
        text.add("partialfc_checkpoints", .gauge, "Checkpoints that are kept.", Double(status.checkpoints.count))
        text.add(
            "partialfc_checkpoint_step", .gauge, "The step of the newest checkpoint.",
            status.checkpoints.last.map { Double($0.step) })
        text.add(
            "partialfc_checkpoint_failed", .gauge, "Whether the last checkpoint could not be written.",
            status.checkpointProblem.isEmpty ? 0 : 1)
        text.add(
            "partialfc_step_age_seconds", .gauge, "Since the last step was committed.", status.stepAge)
        text.add(
            "partialfc_results_failed", .gauge, "Whether the results could not be written the last time.",
            status.resultsProblem.isEmpty ? 0 : 1)
        text.add(
            "partialfc_missed_evaluations_total", .counter, "Evaluations that were due and were not made.",
            Double(status.missedEvaluations))
        text.add(
            "partialfc_coordinator_blocked", .gauge, "Whether the coordinator cannot write down what it decides.",
            status.obstacle.isEmpty ? 0 : 1)
        text.add(
            "partialfc_coordinator_impaired", .gauge,
            "Whether the coordinator cannot write its metrics although the run goes on.",
            status.problem == nil ? 0 : 1)
        text.add(
            "partialfc_straggler", .gauge, "1 for the member that the others wait for, if there is one.",
            status.straggler.map { [Sample(1, ("member", $0))] } ?? [])
    }

    private static func addShards(_ shards: [ClusterStatus.Shard], _ text: inout MetricsText) {
        func add(
            _ name: String, _ kind: MetricsText.Kind, _ help: String, _ value: (ClusterStatus.Shard) -> Double?
        ) {
            text.add(
                "partialfc_shard_\(name)", kind, help,
                shards.compactMap { shard in value(shard).map { Sample($0, ("shard", shard.name)) } })
        }
        add("up", .gauge, "Whether the shard's lease holds.") { $0.alive ? 1 : 0 }
        add("late", .gauge, "Whether it was not heard of for half a lease.") { $0.late ? 1 : 0 }
        add("draining", .gauge, "Whether it hands its slices over and goes.") { $0.isDraining ? 1 : 0 }
        add("blocked", .gauge, "Whether something, such as a full disk, keeps it from preparing steps.") {
            $0.obstacle.isEmpty ? 0 : 1
        }
        add("impaired", .gauge, "Whether something is wrong with its disk although steps go on.") {
            $0.problem == nil ? 0 : 1
        }
        add("left", .gauge, "Whether it said that it goes, and is not back: the status says why.") {
            $0.goodbye.isEmpty ? 0 : 1
        }
        add("heartbeat_age_seconds", .gauge, "Since it was last heard of.") { $0.age }
        add("slices", .gauge, "Slices that it owns.") { Double($0.slices.total) }
        add("dense_slices", .gauge, "Dense slices that it owns.") { Double($0.denseSlices.total) }
        add("classes", .gauge, "Classes that it owns.") { Double($0.classes.total) }
        add("committed_step", .gauge, "The step that it has committed.") { Double($0.committed) }
        add("durable_step", .gauge, "The last step that a power cut cannot take from it.") { Double($0.durable) }
        add("snapshot_step", .gauge, "The step of its oldest snapshot.") { $0.snapshotStep.map(Double.init) }
        add("log_bytes", .gauge, "Length of its log.") { Double($0.logBytes) }
        add("model_bytes", .gauge, "Memory of the rows, the parameters and what the optimiser keeps.") {
            Double($0.memoryBytes)
        }
        add("resident_memory_bytes", .gauge, "Memory in use by its process.") { Double($0.residentBytes) }
        add("refused_messages_total", .counter, "Messages that it refused.") { Double($0.refused) }
    }

    private static func addWorkers(_ workers: [ClusterStatus.Worker], _ text: inout MetricsText) {
        func add(
            _ name: String, _ kind: MetricsText.Kind, _ help: String, _ value: (ClusterStatus.Worker) -> Double?
        ) {
            text.add(
                "partialfc_worker_\(name)", kind, help,
                workers.compactMap { worker in value(worker).map { Sample($0, ("worker", worker.name)) } })
        }
        add("up", .gauge, "Whether the worker's lease holds.") { $0.alive ? 1 : 0 }
        add("late", .gauge, "Whether the others wait for it, or it was not heard of for half a lease.") {
            $0.late ? 1 : 0
        }
        add("heartbeat_age_seconds", .gauge, "Since it was last heard of.") { $0.age }
        add("rank", .gauge, "Its rank in the running attempt; missing outside the world.") { $0.rank.map(Double.init) }
        add("micro_batches", .gauge, "Micro-batches that it computes in a step.") {
            $0.microBatches.count == 2 ? Double($0.microBatches[1] - $0.microBatches[0]) : 0
        }
        add("step_seconds", .gauge, "Its last step, in all.") { $0.stepSeconds }
        add("backbone_seconds", .gauge, "Of that in the backbone.") { $0.backboneSeconds }
        add("exchange_seconds", .gauge, "Of that waiting for shards.") { $0.exchangeSeconds }
        add("update_seconds", .gauge, "Of the waiting, for the shards' update.") { $0.updateSeconds }
        add("resident_memory_bytes", .gauge, "Memory in use by its process.") { Double($0.residentBytes) }
        add("replaced_images_total", .counter, "Images that did not decode and were replaced.") {
            Double($0.replacedImages)
        }
        add("left_out_samples", .gauge, "Samples that were left out when it opened its data.") {
            $0.leftOutSamples.map(Double.init)
        }
        add("left_out_identities", .gauge, "Identities without an image that it can read, as far as known.") {
            $0.leftOutIdentities.map(Double.init)
        }
    }
}

extension [[Int]] {
    /// How many numbers are in ranges, each given by its first and one past its last.
    fileprivate var total: Int { reduce(0) { $0 + ($1.count == 2 ? $1[1] - $1[0] : 0) } }
}
