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
        if let loss, let learningRate, let gradientNorm {
            lines.append(
                "loss      \(Units.fixed(loss, 4))   learning rate \(Units.fixed(Double(learningRate), 5))   gradient norm \(Units.fixed(gradientNorm, 3))"
            )
        }
        if let samplesPerSecond, let secondsLeft {
            lines.append("speed     \(Units.fixed(samplesPerSecond, 0)) samples/s, \(Units.duration(secondsLeft)) left")
        }
        lines.append("model     \(classes) classes × \(embeddingSize), batches of \(batchSize)")
        lines.append("exchange  \(exchangeReason)")
        lines.append("members   \(shards.count { $0.alive }) shards, \(workers.count { $0.alive }) workers")
        for evaluation in evaluations {
            let figures = evaluation.values.sorted { $0.key < $1.key }.map { "\($0.key) \(Units.fixed($0.value, 4))" }
            lines.append("\(evaluation.name) after step \(evaluation.step): \(figures.joined(separator: ", "))")
        }
        let late = shards.filter(\.late).map(\.name) + workers.filter(\.late).map(\.name)
        if !late.isEmpty { lines.append("late      \(late.joined(separator: ", "))") }
        return lines.joined(separator: "\n")
    }

    /// One line for a log.
    var line: String {
        var parts = ["\(state)", "step \(committed + 1)/\(totalSteps)"]
        if let loss { parts.append("loss \(Units.fixed(loss, 4))") }
        if let samplesPerSecond { parts.append("\(Units.fixed(samplesPerSecond, 0)) samples/s") }
        if let secondsLeft { parts.append("\(Units.duration(secondsLeft)) left") }
        let late = shards.filter(\.late).map(\.name) + workers.filter(\.late).map(\.name)
        if !late.isEmpty { parts.append("late: \(late.joined(separator: ", "))") }
        if !reason.isEmpty { parts.append(reason) }
        return parts.joined(separator: "  ")
    }

    /// The shard servers as a table.
    var shardTable: String {
        var table = TextTable([
            "shard", "state", "slices", "classes", "dense", "step", "model", "resident", "refused", "endpoint",
        ])
        for shard in shards {
            table.add([
                shard.name, state(alive: shard.alive, late: shard.late, age: shard.age), text(shard.slices),
                text(shard.classes),
                text(shard.denseSlices), "\(shard.committed)", Units.bytes(shard.memoryBytes),
                Units.bytes(shard.residentBytes), "\(shard.refused)", shard.endpoint,
            ])
        }
        return table.render()
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
                worker.rank.map { "\($0)" } ?? "–", text(worker.microBatches), milliseconds(worker.stepSeconds),
                milliseconds(worker.backboneSeconds), milliseconds(worker.exchangeSeconds),
                Units.bytes(worker.residentBytes), "\(worker.processID)@\(worker.host)",
            ])
        }
        return table.render()
    }

    private func state(alive: Bool, late: Bool, age: Double) -> String {
        alive ? (late ? "late \(Units.fixed(age, 1)) s" : "alive") : "lost \(Units.fixed(age, 0)) s"
    }

    private func text(_ range: [Int]) -> String {
        range.count == 2 && range[0] < range[1] ? "\(range[0])–\(range[1] - 1)" : "–"
    }
}
