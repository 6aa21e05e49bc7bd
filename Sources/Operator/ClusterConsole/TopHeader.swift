internal import OperatorStatus
internal import ProcessSupport

/// The upper part of the screen: what the run does.
enum TopHeader {
    static func lines(_ view: TopView, columns: Int) -> [ConsoleLine] {
        var lines = [title(view.status), progress(view.status, columns), loss(view, columns)]
        lines.append(accuracy(view.status))
        lines.append(speed(view))
        if let split = split(view, columns) { lines.append(split) }
        if let head = view.status.head, view.status.headVaries == true {
            var line = ConsoleLine("head ", .faint)
            line.add(head.summary)
            for change in view.status.headInForce ?? [] {
                line.add(
                    " (\(change.order) \(change.fromStep.map { "since step \($0)" } ?? "from the next step on"))",
                    .warning)
            }
            lines.append(line)
        }
        if let job = view.status.job {
            var line = ConsoleLine("job ", .faint)
            line.add("\(job.id): \(job.summary)", job.missingRanks.isEmpty ? .plain : .warning)
            lines.append(line)
        }
        if let copies = view.status.copies {
            var line = ConsoleLine("copies ", .faint)
            line.add(copies.summary, copies.complete == copies.slices ? .plain : .warning)
            lines.append(line)
        }
        lines += problems(view.status)
        lines.append(ConsoleLine())
        return lines
    }

    private static func title(_ status: ClusterStatus) -> ConsoleLine {
        var line = ConsoleLine("\(status.clusterID)  ", .bold)
        let style: ConsoleStyle =
            switch status.state {
            case "failed": .bad
            case "training", "finished": .good
            default: .warning
            }
        line.add(status.state, style)
        if !status.reason.isEmpty { line.add(" (\(status.reason))", style) }
        line.add(
            "   \(status.classes) classes × \(status.embeddingSize), batches of \(status.batchSize), \(status.exchange)",
            .faint)
        return line
    }

    private static func progress(_ status: ClusterStatus, _ columns: Int) -> ConsoleLine {
        let done = status.committed + 1
        let share = status.totalSteps > 0 ? min(1, max(0, Double(done) / Double(status.totalSteps))) : 0
        var text =
            status.totalSteps > 0
            ? "\(done) of \(status.totalSteps) steps  \(Units.fixed(100 * share, 1)) %" : "\(done) steps"
        if status.attempt > 0 { text += "  attempt \(status.attempt + 1)" }
        var rest = status.isOver ? "" : status.secondsLeft.map { "  \(Units.duration($0)) left" } ?? ""
        if status.isStale { rest = "  no step for \(Units.duration(status.stepAge))" }
        let width = min(40, columns - text.columns - rest.columns - 2)
        var line = ConsoleLine(text)
        if width >= 8, status.totalSteps > 0 {
            let full = Int((share * Double(width)).rounded(.down))
            line.add("  ")
            line.add(String(repeating: "█", count: full), .good)
            line.add(String(repeating: "░", count: width - full), .faint)
        }
        line.add(rest)
        return line
    }

    private static func loss(_ view: TopView, _ columns: Int) -> ConsoleLine {
        var line = ConsoleLine("loss ", .faint)
        line.add(view.status.loss.map { Units.fixed($0, 4) } ?? "–", .bold)
        let rate = rate(view.status)
        let width = min(60, columns - line.columns - rate.columns - 4)
        let curve = view.history?.loss ?? []
        if width >= 8, !curve.isEmpty {
            line.add("  ")
            line.add(Sparkline.text(curve, width: width), .accent)
        }
        line.add("  ")
        line.add(rate)
        return line
    }

    private static func rate(_ status: ClusterStatus) -> ConsoleLine {
        var line = ConsoleLine("learning rate ", .faint)
        line.add((status.nextLearningRate ?? status.learningRate).map(figure) ?? "–")
        if let change = status.learningRateChanges.last, change.rule != "schedule" || change.fromStep == nil {
            line.add(
                " (\(change.rule)\(change.fromStep.map { " since step \($0)" } ?? " from the next step on"))", .warning)
        }
        return line
    }

    /// Four digits that say something: `0.0500`, `0.0001250`, `12.00`.
    static func figure(_ value: Float) -> String {
        guard value.isFinite, value > 0 else { return "\(value)" }
        var digits = 4
        var scale = Double(value)
        while scale < 0.1 && digits < 12 {
            scale *= 10
            digits += 1
        }
        while scale >= 10 && digits > 1 {
            scale /= 10
            digits -= 1
        }
        return Units.fixed(Double(value), digits)
    }

    private static func accuracy(_ status: ClusterStatus) -> ConsoleLine {
        var line = ConsoleLine("accuracy ", .faint)
        let known = status.evaluations.filter { $0.values["accuracy"] != nil }
        if known.isEmpty { line.add("–") }
        for (index, evaluation) in known.enumerated() {
            if index > 0 { line.add(", ") }
            line.add("\(Units.fixed(100 * (evaluation.values["accuracy"] ?? 0), 2)) %", .bold)
            line.add(" \(evaluation.name), after step \(evaluation.step)")
        }
        if let norm = status.gradientNorm {
            line.add("   gradient norm ", .faint)
            line.add(Units.fixed(norm, 3))
        }
        return line
    }

    private static func speed(_ view: TopView) -> ConsoleLine {
        var line = ConsoleLine("speed ", .faint)
        let speed = view.status.isOver ? nil : view.status.samplesPerSecond
        line.add(speed.map { Units.fixed($0, 0) } ?? "–", view.status.isStale ? .faint : .bold)
        line.add(" samples/s", .faint)
        line.add("   members ", .faint)
        line.add(view.status.membersText)
        if let straggler = view.status.straggler { line.add("   waits for \(straggler)", .warning) }
        return line
    }

    /// Where the slowest worker's step went, as numbers and as a bar.
    private static func split(_ view: TopView, _ columns: Int) -> ConsoleLine? {
        guard let backbone = view.recent(\.backboneSeconds), let waiting = view.recent(\.exchangeSeconds) else {
            return nil
        }
        let update = min(waiting, view.recent(\.updateSeconds) ?? 0)
        let parts: [(name: String, seconds: Double, bar: Character, style: ConsoleStyle)] = [
            ("backbone", backbone, "█", .good), ("exchange", waiting - update, "▓", .accent),
            ("update", update, "▒", .warning),
        ]
        let whole = max(1e-9, view.recent(\.seconds) ?? 0, parts.reduce(0) { $0 + $1.seconds })
        var line = ConsoleLine("step ", .faint)
        line.add("\(milliseconds(whole)) ms", .bold)
        for part in parts {
            line.add("  \(part.name) ", .faint)
            line.add(milliseconds(part.seconds), part.style)
        }
        let width = min(40, columns - line.columns - 2)
        guard width >= 10 else { return line }
        line.add("  ")
        var from = 0
        var sum = 0.0
        for part in parts {
            sum += part.seconds
            let to = Int(max(0, min(Double(width), (sum / whole * Double(width)).rounded())))
            line.add(String(repeating: part.bar, count: max(0, to - from)), part.style)
            from = max(from, to)
        }
        line.add(String(repeating: "░", count: width - from), .faint)
        return line
    }

    static func milliseconds(_ seconds: Double) -> String { Units.fixed(seconds * 1000, seconds < 0.1 ? 1 : 0) }

    private static func problems(_ status: ClusterStatus) -> [ConsoleLine] {
        var lines: [ConsoleLine] = []
        func add(_ text: String, _ style: ConsoleStyle) { lines.append(ConsoleLine(text, style)) }
        if !status.obstacle.isEmpty { add("the coordinator: \(status.obstacle)", .bad) }
        for shard in status.shards where !shard.alive && !shard.goodbye.isEmpty {
            add("\(shard.name) \(shard.goodbye)", .bad)
        }
        if !status.resultsProblem.isEmpty { add("the results could not be written: \(status.resultsProblem)", .bad) }
        for shard in status.shards where !shard.obstacle.isEmpty { add("\(shard.name): \(shard.obstacle)", .bad) }
        if let problem = status.problem { add("the coordinator: \(problem)", .bad) }
        for shard in status.shards { if let problem = shard.problem { add("\(shard.name): \(problem)", .bad) } }
        if !status.checkpointProblem.isEmpty {
            add("the last checkpoint could not be written: \(status.checkpointProblem)", .bad)
        }
        if let task = status.task {
            let pending = task.pending.isEmpty ? "" : ", waiting for \(task.pending.joined(separator: ", "))"
            add("\(task.kind) after step \(task.step)\(pending)", .warning)
            for (shard, problem) in task.problems.sorted(by: { $0.key < $1.key }) { add("\(shard): \(problem)", .bad) }
        }
        if let skipped = status.lastSkipped {
            add(
                "\(Units.count(status.skippedSteps, "step")) skipped, the last step \(skipped.step): \(skipped.message)",
                .warning)
        }
        return lines
    }
}
