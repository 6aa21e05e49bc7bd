import OperatorStatus
import ProcessSupport

extension ClusterStatus {
    /// Step, loss, speed and time left in a few lines.
    var summary: String {
        var lines = ["cluster   \(clusterID): \(state)" + (reason.isEmpty ? "" : " (\(reason))")]
        let share = totalSteps > 0 ? Units.fixed(100 * Double(committed + 1) / Double(totalSteps), 1) : ""
        lines.append(
            "steps     \(committed + 1)" + (totalSteps > 0 ? " of \(totalSteps) committed (\(share) %)" : " committed")
                + (committed >= 0 ? ", the last is step \(committed)" : "")
                + (attempt > 0 && !isOver ? ", attempt \(attempt + 1) of the next" : ""))
        if stepAge > 1, state == "training" || isStale {
            lines.append(
                committed < 0
                    ? "no step for \(Units.duration(stepAge)), since the coordinator was started"
                    : "last step \(Units.duration(stepAge)) ago" + (isStale ? ": nothing has been committed since" : "")
            )
        }
        if !obstacle.isEmpty { lines.append("obstacle  the coordinator: \(obstacle)") }
        for shard in shards where !shard.alive && !shard.goodbye.isEmpty {
            lines.append("gone      \(shard.name) \(shard.goodbye)")
        }
        for shard in shards where !shard.obstacle.isEmpty { lines.append("obstacle  \(shard.name): \(shard.obstacle)") }
        if let problem { lines.append("obstacle  the coordinator: \(problem); the run goes on") }
        for shard in shards {
            if let problem = shard.problem { lines.append("obstacle  \(shard.name): \(problem); steps go on") }
        }
        if !checkpointProblem.isEmpty { lines.append("obstacle  the last checkpoint: \(checkpointProblem)") }
        if let task {
            let pending = task.pending.isEmpty ? "" : ", waiting for \(task.pending.joined(separator: ", "))"
            lines.append("task      \(task.kind) after step \(task.step)\(pending)")
            for (shard, problem) in task.problems.sorted(by: { $0.key < $1.key }) {
                lines.append("blocked   \(shard): \(problem) (`coordinator cancel` calls the task off)")
            }
        }
        if !moves.isEmpty, !isOver {
            let copied = moves.count { $0.received != nil }
            lines.append("moves     \(movesText) on their way, \(copied) of them copied")
        }
        if let loss, let learningRate {
            let norm = gradientNorm.map { "   gradient norm \(Units.fixed($0, 3))" } ?? ""
            lines.append(
                "loss      \(Units.fixed(loss, 4))   learning rate \(Units.fixed(Double(learningRate), 5))\(norm)")
        }
        if let change = learningRateChanges.last {
            lines.append("rate set  \(change.rule) \(Self.since(change.fromStep))")
        }
        if let head { lines.append("head      \(head.summary)") }
        for change in headInForce ?? [] {
            lines.append("head set  \(change.order) \(Self.since(change.fromStep))")
        }
        if let samplesPerSecond, let secondsLeft {
            let stale = isStale ? " (as of \(Units.duration(stepAge)) ago)" : ""
            lines.append(
                "speed     \(Units.fixed(samplesPerSecond, 0)) samples/s, \(Units.duration(secondsLeft)) left\(stale)")
        }
        lines.append("model     \(classes) classes × \(embeddingSize), batches of \(batchSize)")
        if let optimizer, let determinism { lines.append("training  \(optimizer), determinism \(determinism)") }
        if let job { lines.append("job       \(job.id): \(job.summary)") }
        if let copies { lines.append("copies    \(copies.summary)") }
        if let standby { lines.append("standby   \(standby.summary)") }
        for operation in pendingOperations { lines.append("waits     \(operation)") }
        lines.append("exchange  \(exchangeReason)")
        lines.append("members   \(membersText)")
        if let checkpoint = checkpoints.last {
            lines.append("saved     step \(checkpoint.step) in \(checkpoint.directory)")
        }
        lines.append("durable   \(durableText); \(draining)term \(term)")
        if !resultsProblem.isEmpty { lines.append("results   could not be written: \(resultsProblem)") }
        if let lastSkipped {
            lines.append(
                "skipped   \(Units.count(skippedSteps, "step")), the last \(lastSkipped.step): \(lastSkipped.message)")
        }
        for evaluation in evaluations {
            let figures = evaluation.values.sorted { $0.key < $1.key }.map { "\($0.key) \(Units.fixed($0.value, 4))" }
            lines.append("\(evaluation.name) after step \(evaluation.step): \(figures.joined(separator: ", "))")
        }
        for worker in workers {
            if let data = worker.dataProblems { lines.append("data      \(worker.name): \(data)") }
        }
        if missedEvaluations > 0 {
            lines.append("missed    \(Units.count(missedEvaluations, "evaluation")) that were due")
        }
        let late = shards.filter(\.late).map(\.name) + workers.filter(\.late).map(\.name)
        if !late.isEmpty { lines.append("late      \(late.joined(separator: ", "))") }
        if let straggler { lines.append("straggler \(straggler)") }
        if let waitingFor { lines.append("waits for \(waitingFor)") }
        for shard in shards { if let reason = shard.leftOut { lines.append("left out  \(shard.name): \(reason)") } }
        for worker in workers { if let reason = worker.leftOut { lines.append("left out  \(worker.name): \(reason)") } }
        return lines.map(\.printable).joined(separator: "\n")
    }

    /// One line for a log.
    var line: String {
        var parts = ["\(state)", "\(committed + 1)" + (totalSteps > 0 ? "/\(totalSteps)" : "") + " steps"]
        if let loss { parts.append("loss \(Units.fixed(loss, 4))") }
        if isStale {
            parts.append("no step for \(Units.duration(stepAge))")
        } else {
            if let samplesPerSecond { parts.append("\(Units.fixed(samplesPerSecond, 0)) samples/s") }
            if let secondsLeft { parts.append("\(Units.duration(secondsLeft)) left") }
        }
        let late = shards.filter(\.late).map(\.name) + workers.filter(\.late).map(\.name)
        if let task { parts.append("\(task.kind) after step \(task.step)") }
        if !moves.isEmpty, !isOver { parts.append("\(movesText) on their way") }
        if skippedSteps > 0 { parts.append("\(skippedSteps) skipped") }
        if !late.isEmpty { parts.append("late: \(late.joined(separator: ", "))") }
        if let straggler { parts.append("straggler: \(straggler)") }
        if let waitingFor { parts.append("waits: \(waitingFor)") }
        for shard in shards where shard.leftOut != nil { parts.append("left out: \(shard.name)") }
        for worker in workers where worker.leftOut != nil { parts.append("left out: \(worker.name)") }
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
            "shard", "state", "slices", "classes", "dense", "copies", "step", "durable", "snapshot", "log", "model",
            "resident",
            "refused", "endpoint",
        ])
        for shard in shards {
            let moving = isOver ? 0 : moves.count { $0.to == shard.name }
            let state =
                shard.leftOut == nil ? state(alive: shard.alive, late: shard.late, age: shard.age) : "left out"
            table.add([
                shard.name, shard.isDraining ? "draining" : moving > 0 ? "\(state), gets \(moving)" : state,
                text(shard.slices), "\(shard.classes.reduce(0) { $0 + $1[1] - $1[0] })", text(shard.denseSlices),
                shard.copies.map { "\($0)" } ?? "–", "\(shard.committed)", "\(shard.durable)",
                shard.snapshotStep.map { "\($0)" } ?? "–",
                Units.bytes(shard.logBytes), Units.bytes(shard.memoryBytes), Units.bytes(shard.residentBytes),
                "\(shard.refused)", shard.endpoint,
            ])
        }
        let obstacles = shards.filter { !$0.obstacle.isEmpty }.map { "\($0.name) waits: \($0.obstacle)" }
        let problems = shards.compactMap { shard in shard.problem.map { "\(shard.name): \($0)" } }
        let gone = shards.filter { !$0.alive && !$0.goodbye.isEmpty }.map { "\($0.name) \($0.goodbye)" }
        return ([table.render()] + (obstacles + problems + gone).map(\.printable)).joined(separator: "\n")
    }

    /// The workers as a table.
    var workerTable: String {
        var table = TextTable([
            "worker", "state", "rank", "micro-batches", "step ms", "backbone ms", "exchange ms", "resident", "process",
        ])
        for worker in workers {
            func milliseconds(_ seconds: Double?) -> String { seconds.map { Units.fixed($0 * 1000, 1) } ?? "–" }
            table.add([
                worker.name,
                worker.leftOut == nil ? state(alive: worker.alive, late: worker.late, age: worker.age) : "left out",
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

    /// From when on a change holds.
    private static func since(_ step: Int?) -> String {
        step.map { "from step \($0) on" } ?? "from the next step on that begins"
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
