internal import OperatorStatus
internal import ProcessSupport

/// The tables of shards and workers.
enum TopMembers {
    private typealias Column = ConsoleTable.Column

    static func lines(_ view: TopView, columns: Int) -> [ConsoleLine] {
        var lines = [title("SHARDS", view.status.shards.count, view.status.isOver ? "" : view.status.movesText)]
        lines += shards(view).lines(columns: columns)
        lines.append(ConsoleLine())
        lines.append(title("WORKERS", view.status.workers.count, ""))
        lines += workers(view).lines(columns: columns)
        return lines
    }

    private static func title(_ name: String, _ count: Int, _ moves: String) -> ConsoleLine {
        var line = ConsoleLine(name, .accent)
        line.add("  \(count)", .faint)
        if !moves.isEmpty { line.add("  \(moves) on their way", .warning) }
        return line
    }

    private static func shards(_ view: TopView) -> ConsoleTable {
        let status = view.status
        var table = ConsoleTable([
            Column(title: "shard", isNumber: false), Column(title: "state", isNumber: false, rank: 1),
            Column(title: "slices", rank: 2), Column(title: "dense", rank: 7), Column(title: "rows", rank: 3),
            Column(title: "model", rank: 6), Column(title: "resident", rank: 4), Column(title: "log", rank: 5),
            Column(title: "behind", rank: 2), Column(title: "durable", rank: 8), Column(title: "moving", rank: 3),
            Column(title: "endpoint", isNumber: false, rank: 9),
        ])
        func behind(_ shard: ClusterStatus.Shard) -> Int { max(0, status.committed - shard.committed) }
        let sorted: [ClusterStatus.Shard] =
            switch view.order {
            case .name: status.shards
            case .time: status.shards.sorted { (behind($0), $0.age) > (behind($1), $1.age) }
            case .memory: status.shards.sorted { $0.residentBytes > $1.residentBytes }
            }
        for shard in sorted {
            let (arriving, leaving) = (
                status.moves.count { $0.to == shard.name }, status.moves.count { $0.from == shard.name }
            )
            let moving = [arriving > 0 ? "+\(arriving)" : "", leaving > 0 ? "-\(leaving)" : ""].joined()
            table.add([
                (shard.name, .bold), state(shard, isSlow: status.straggler == shard.name),
                ("\(count(shard.slices))", .plain), ("\(count(shard.denseSlices))", .plain),
                ("\(count(shard.classes))", .plain), (Units.bytes(shard.memoryBytes), .plain),
                (Units.bytes(shard.residentBytes), .plain), (Units.bytes(shard.logBytes), .plain),
                ("\(behind(shard))", behind(shard) > 1 ? .warning : .plain),
                (shard.durable < 0 ? "–" : "\(shard.durable)", .plain),
                (moving.isEmpty ? "–" : moving, moving.isEmpty ? .faint : .warning), (shard.endpoint, .faint),
            ])
        }
        return table
    }

    private static func state(_ shard: ClusterStatus.Shard, isSlow: Bool) -> (String, ConsoleStyle) {
        if shard.alive && !shard.obstacle.isEmpty { return ("blocked", .bad) }
        if shard.alive && shard.isDraining { return ("draining", .warning) }
        return state(alive: shard.alive, late: shard.late, age: shard.age, isSlow: isSlow)
    }

    private static func state(alive: Bool, late: Bool, age: Double, isSlow: Bool) -> (String, ConsoleStyle) {
        if !alive { return ("lost \(Units.fixed(age, 0)) s", .bad) }
        if late { return ("late \(Units.fixed(age, 1)) s", .warning) }
        return isSlow ? ("slow", .warning) : ("alive", .good)
    }

    private static func workers(_ view: TopView) -> ConsoleTable {
        let status = view.status
        var table = ConsoleTable([
            Column(title: "worker", isNumber: false), Column(title: "state", isNumber: false, rank: 1),
            Column(title: "rank", rank: 4), Column(title: "samples/s", rank: 2), Column(title: "step ms", rank: 1),
            Column(title: "backbone", rank: 3), Column(title: "exchange", rank: 3), Column(title: "update", rank: 5),
            Column(title: "resident", rank: 6), Column(title: "threads", rank: 7),
            Column(title: "process", isNumber: false, rank: 8),
        ])
        let sorted: [ClusterStatus.Worker] =
            switch view.order {
            case .name: status.workers
            case .time: status.workers.sorted { ($0.stepSeconds ?? 0) > ($1.stepSeconds ?? 0) }
            case .memory: status.workers.sorted { $0.residentBytes > $1.residentBytes }
            }
        func milliseconds(_ seconds: Double?) -> (String, ConsoleStyle) {
            (seconds.map(TopHeader.milliseconds) ?? "–", .plain)
        }
        for worker in sorted {
            let waiting = worker.exchangeSeconds.map { max(0, $0 - (worker.updateSeconds ?? 0)) }
            let speed = speed(of: worker, in: status)
            table.add([
                (worker.name, .bold),
                state(
                    alive: worker.alive, late: worker.late, age: worker.age, isSlow: status.straggler == worker.name),
                (worker.rank.map { "\($0)" } ?? "–", .plain), (speed.map { Units.fixed($0, 0) } ?? "–", .plain),
                milliseconds(worker.stepSeconds), milliseconds(worker.backboneSeconds), milliseconds(waiting),
                milliseconds(worker.updateSeconds), (Units.bytes(worker.residentBytes), .plain),
                ("\(worker.threads)", .plain), ("\(worker.processID)@\(worker.host)", .faint),
            ])
        }
        return table
    }

    /// Its part of the batch in the time of its last step.
    private static func speed(of worker: ClusterStatus.Worker, in status: ClusterStatus) -> Double? {
        guard let seconds = worker.stepSeconds, seconds > 0, worker.microBatches.count == 2 else { return nil }
        let all = status.workers.compactMap { $0.microBatches.count == 2 ? $0.microBatches[1] : nil }.max() ?? 0
        guard all > 0 else { return nil }
        let part = Double(worker.microBatches[1] - worker.microBatches[0]) / Double(all)
        return part * Double(status.batchSize) / seconds
    }

    /// How many numbers are in ranges, each given by its first and one past its last.
    private static func count(_ ranges: [[Int]]) -> Int {
        ranges.reduce(0) { $0 + ($1.count == 2 ? $1[1] - $1[0] : 0) }
    }
}
