import ClusterStatus
import ProcessSupport

extension ClusterStatus {
    /// Step, loss, speed and time left in a few lines.
    var summary: String {
        var lines = ["cluster   \(clusterID): \(state)" + (reason.isEmpty ? "" : " (\(reason))")]
        let share = totalSteps > 0 ? Units.fixed(100 * Double(committed + 1) / Double(totalSteps), 1) : "–"
        lines.append(
            "step      \(committed + 1) of \(totalSteps) committed (\(share) %)"
                + (attempt > 0 ? ", attempt \(attempt)" : ""))
        if !obstacle.isEmpty { lines.append("obstacle  the coordinator: \(obstacle)") }
        for shard in shards where !shard.obstacle.isEmpty { lines.append("obstacle  \(shard.name): \(shard.obstacle)") }
        if let problem { lines.append("obstacle  the coordinator: \(problem); the run goes on") }
        for shard in shards {
            if let problem = shard.problem { lines.append("obstacle  \(shard.name): \(problem); steps go on") }
        }
        if !checkpointProblem.isEmpty { lines.append("obstacle  the last checkpoint: \(checkpointProblem)") }
        if let task {
            let pending = task.pending.isEmpty ? "" : ", waiting for \(task.pending.joined(separator: ", "))"
            lines.append("task      \(task.kind) at step \(task.step)\(pending)")
        }
        if !moves.isEmpty {
            let copied = moves.count { $0.received != nil }
            lines.append("moves     \(moves.count) slices on their way, \(copied) of them copied")
        }
        if let loss, let learningRate, let gradientNorm {
            lines.append(
                "loss      \(Units.fixed(loss, 4))   learning rate \(Units.fixed(Double(learningRate), 5))   gradient norm \(Units.fixed(gradientNorm, 3))"
            )
        }
        if let change = learningRateChanges.last {
            let from = change.fromStep.map { "from step \($0) on" } ?? "from the next step on that begins"
            lines.append("rate set  \(change.rule) \(from)")
        }
        if let samplesPerSecond, let secondsLeft {
            lines.append("speed     \(Units.fixed(samplesPerSecond, 0)) samples/s, \(Units.duration(secondsLeft)) left")
        }
        lines.append("model     \(classes) classes × \(embeddingSize), batches of \(batchSize)")
        for operation in pendingOperations { lines.append("waits     \(operation)") }
        lines.append("exchange  \(exchangeReason)")
        lines.append("members   \(shards.count { $0.alive }) shards, \(workers.count { $0.alive }) workers")
        if let checkpoint = checkpoints.last {
            lines.append("saved     step \(checkpoint.step) in \(checkpoint.directory)")
        }
        lines.append("durable   step \(safe) on every shard; \(draining)term \(term)")
        if let lastSkipped {
            lines.append("skipped   \(skippedSteps) steps, the last \(lastSkipped.step): \(lastSkipped.message)")
        }
        for evaluation in evaluations {
            let figures = evaluation.values.sorted { $0.key < $1.key }.map { "\($0.key) \(Units.fixed($0.value, 4))" }
            lines.append("\(evaluation.name) after step \(evaluation.step): \(figures.joined(separator: ", "))")
        }
        for worker in workers {
            if let data = worker.dataProblems { lines.append("data      \(worker.name): \(data)") }
        }
        let late = shards.filter(\.late).map(\.name) + workers.filter(\.late).map(\.name)
        if !late.isEmpty { lines.append("late      \(late.joined(separator: ", "))") }
        if let straggler { lines.append("straggler \(straggler)") }
        return lines.map(\.printable).joined(separator: "\n")
    }

    /// One line for a log.
    var line: String {
        var parts = ["\(state)", "step \(committed + 1)/\(totalSteps)"]
        if let loss { parts.append("loss \(Units.fixed(loss, 4))") }
        if let samplesPerSecond { parts.append("\(Units.fixed(samplesPerSecond, 0)) samples/s") }
        if let secondsLeft { parts.append("\(Units.duration(secondsLeft)) left") }
        let late = shards.filter(\.late).map(\.name) + workers.filter(\.late).map(\.name)
        if let task { parts.append("\(task.kind) at step \(task.step)") }
        if !moves.isEmpty { parts.append("\(moves.count) slices on their way") }
        if skippedSteps > 0 { parts.append("\(skippedSteps) skipped") }
        if !late.isEmpty { parts.append("late: \(late.joined(separator: ", "))") }
        if let straggler { parts.append("straggler: \(straggler)") }
        for shard in shards where !shard.obstacle.isEmpty { parts.append("\(shard.name): \(shard.obstacle)") }
        for shard in shards { if let problem = shard.problem { parts.append("\(shard.name): \(problem)") } }
        if !obstacle.isEmpty { parts.append(obstacle) }
        if let problem { parts.append(problem) }
        if !reason.isEmpty { parts.append(reason) }
        return parts.map(\.printable).joined(separator: "  ")
    }

    /// The shard servers as a table, and what keeps some of them from going on.
    var shardTable: String {
        var table = TextTable([
            "shard", "state", "slices", "classes", "dense", "step", "durable", "snapshot", "log", "model", "resident",
            "refused", "endpoint",
        ])
        for shard in shards {
            let moving = moves.count { $0.to == shard.name }
            let state = state(alive: shard.alive, late: shard.late, age: shard.age)
            table.add([
                shard.name, shard.isDraining ? "draining" : moving > 0 ? "\(state), gets \(moving)" : state,
                text(shard.slices), "\(shard.classes.reduce(0) { $0 + $1[1] - $1[0] })", text(shard.denseSlices),
                "\(shard.committed)", "\(shard.durable)", shard.snapshotStep.map { "\($0)" } ?? "–",
                Units.bytes(shard.logBytes), Units.bytes(shard.memoryBytes), Units.bytes(shard.residentBytes),
                "\(shard.refused)", shard.endpoint,
            ])
        }
        let obstacles = shards.filter { !$0.obstacle.isEmpty }.map { "\($0.name) waits: \($0.obstacle)" }
        let problems = shards.compactMap { shard in shard.problem.map { "\(shard.name): \($0)" } }
        return ([table.render()] + (obstacles + problems).map(\.printable)).joined(separator: "\n")
    }

    /// The workers as a table.
    var workerTable: String {
        var table = TextTable([
            "worker", "state", "rank", "micro-batches", "step ms", "backbone ms", "exchange ms", "resident", "process",
        ])
        for worker in workers {
            func milliseconds(_ seconds: Double?) -> String { seconds.map { Units.fixed($0 * 1000, 1) } ?? "–" }
            table.add([
                worker.name, state(alive: worker.alive, late: worker.late, age: worker.age),
                worker.rank.map { "\($0)" } ?? "–", text([worker.microBatches]), milliseconds(worker.stepSeconds),
                milliseconds(worker.backboneSeconds), milliseconds(worker.exchangeSeconds),
                Units.bytes(worker.residentBytes), "\(worker.processID)@\(worker.host)",
            ])
        }
        return table.render()
    }

    private func state(alive: Bool, late: Bool, age: Double) -> String {
        alive ? (late ? "late \(Units.fixed(age, 1)) s" : "alive") : "lost \(Units.fixed(age, 0)) s"
    }

    private var draining: String {
        let names = shards.filter(\.isDraining).map(\.name)
        return names.isEmpty ? "" : "draining \(names.joined(separator: ", ")); "
    }

    private func text(_ ranges: [[Int]]) -> String {
        let parts = ranges.filter { $0.count == 2 && $0[0] < $0[1] }
        return parts.isEmpty
            ? "–" : parts.map { $0[1] - $0[0] == 1 ? "\($0[0])" : "\($0[0])–\($0[1] - 1)" }.joined(separator: ", ")
    }
}

extension ClusterStatus.Worker {
    /// What it left out of its data or replaced, nil if nothing.
    var dataProblems: String? {
        var parts: [String] = []
        if let leftOutSamples, leftOutSamples > 0 { parts.append("\(leftOutSamples) samples left out") }
        if let leftOutIdentities, leftOutIdentities > 0 {
            parts.append("\(leftOutIdentities) identities without an image that can be read")
        }
        if replacedImages > 0 { parts.append("\(replacedImages) images replaced that did not decode") }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }
}
