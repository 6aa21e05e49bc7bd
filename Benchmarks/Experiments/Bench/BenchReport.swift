import Foundation
import ProcessSupport

/// All figures of one `experiments bench`.
struct BenchReport: Codable {
    /// The machine that they were measured on.
    struct Machine: Codable {
        var processor: String
        var cores: Int
        var memoryBytes: Int

        static var this: Machine {
            let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
            let name = text.split(separator: "\n").first { $0.hasPrefix("model name") }?.split(separator: ":").last
            return Machine(
                processor: name.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown",
                cores: ProcessInfo.processInfo.activeProcessorCount,
                memoryBytes: Int(ProcessInfo.processInfo.physicalMemory))
        }
    }

    var machine: Machine
    var limits: Limits
    var head: [HeadFigures] = []
    var batches: [HeadFigures] = []
    var cuts: [HeadFigures] = []
    var sampling: [SamplingCost] = []
    var serving: [ServingClient.Result] = []
    var worlds: [WorldSpeed] = []
    /// What the exchange `rows` takes, by the formats on the wire.
    var exchanges: [WorldSpeed] = []

    init(machine: Machine, limits: Limits) {
        self.machine = machine
        self.limits = limits
    }

    /// Of every measurement the round with the middle result.
    static func median(of rounds: [BenchReport]) -> BenchReport {
        var report = rounds[0]
        func middle<Row>(_ rows: KeyPath<BenchReport, [Row]>, by value: KeyPath<Row, Double>) -> [Row] {
            rounds[0][keyPath: rows].indices.map { index in
                let candidates = rounds.map { $0[keyPath: rows][index] }
                return candidates.sorted { $0[keyPath: value] < $1[keyPath: value] }[candidates.count / 2]
            }
        }
        report.limits =
            rounds.map(\.limits).sorted {
                $0.bestBF16GigaflopsPerSecond < $1.bestBF16GigaflopsPerSecond
            }[rounds.count / 2]
        report.head = middle(\.head, by: \.milliseconds)
        report.batches = middle(\.batches, by: \.milliseconds)
        report.cuts = middle(\.cuts, by: \.milliseconds)
        report.sampling = middle(\.sampling, by: \.milliseconds)
        report.serving = middle(\.serving, by: \.seconds)
        report.worlds = middle(\.worlds, by: \.milliseconds)
        report.exchanges = middle(\.exchanges, by: \.milliseconds)
        return report
    }

    var text: String {
        """
        \(machine.processor), \(machine.cores) cores, \(Units.bytes(machine.memoryBytes))

        \(limitsText)

        The step of the head: one shard and one worker in a process, \(limits.threads) threads, D = 512, B = 128
        \(headText)

        Against the batch
        \(batchText)

        A fixed order of sums, on one thread: time against one block
        \(cutText)

        Sampling the same number out of more classes, one thread
        \(samplingText)

        Rows over loopback TCP, gather and scatter included
        \(servingText)

        Clusters of processes with \(limits.threads) threads each: time from commit to commit
        \(worldText)

        The exchange rows, 1 shard and 1 worker
        \(exchangeText)
        """
    }

    private var limitsText: String {
        var table = TextTable(["limit, \(limits.threads) threads", "value"])
        table.add(["memcpy, read and written", "\(Units.fixed(limits.memcpyGigabytesPerSecond, 1)) GB/s"])
        table.add([
            "random gather of 1 KB rows, read and written", "\(Units.fixed(limits.gatherGigabytesPerSecond, 1)) GB/s",
        ])
        table.add(["sgemm, OpenBLAS", "\(Units.fixed(limits.sgemmGigaflopsPerSecond, 0)) GFLOP/s"])
        table.add(["bf16 product, oneDNN", "\(Units.fixed(limits.oneDNNGigaflopsPerSecond, 0)) GFLOP/s"])
        table.add([
            "bf16 product, \(limits.kernel) kernel", "\(Units.fixed(limits.kernelGigaflopsPerSecond, 0)) GFLOP/s",
        ])
        return table.render()
    }

    private var headText: String {
        var table = TextTable([
            "C", "r", "rows/momentum/products", "ms", "GFLOP/s", "of best GEMM", "GB/s", "of gather", "peak GB",
        ])
        for row in head {
            let best = row.compute == "bf16" ? limits.bestBF16GigaflopsPerSecond : limits.sgemmGigaflopsPerSecond
            table.add([
                "\(row.classes)", "\(row.sampleRate)", "\(row.storage)/\(row.momentumStorage)/\(row.compute)",
                Units.fixed(row.milliseconds, 1), Units.fixed(row.gigaflopsPerSecond, 0),
                Units.fixed(row.gigaflopsPerSecond / best, 2), Units.fixed(row.gigabytesPerSecond, 2),
                Units.fixed(row.gigabytesPerSecond / limits.gatherGigabytesPerSecond, 2),
                Units.fixed(Double(row.residentBytes) / 1e9, 2),
            ])
        }
        return table.render()
    }

    private var batchText: String {
        var table = TextTable(["B", "C", "ms", "ms per sample", "GFLOP/s"])
        for row in batches {
            table.add([
                "\(row.batch)", "\(row.classes)", Units.fixed(row.milliseconds, 1),
                Units.fixed(row.milliseconds / Double(row.batch), 2), Units.fixed(row.gigaflopsPerSecond, 0),
            ])
        }
        return table.render()
    }

    private var cutText: String {
        var table = TextTable(["slices", "micro-batch", "products", "ms", "ratio"])
        for row in cuts {
            let one = cuts.first { $0.compute == row.compute }?.milliseconds ?? row.milliseconds
            table.add([
                "\(row.slices)", "\(row.microBatch)", row.compute, Units.fixed(row.milliseconds, 1),
                Units.fixed(row.milliseconds / one, 2),
            ])
        }
        return table.render()
    }

    private var samplingText: String {
        var table = TextTable(["C", "sampled", "ms"])
        for row in sampling { table.add(["\(row.classes)", "\(row.sampled)", Units.fixed(row.milliseconds, 2)]) }
        return table.render()
    }

    private var servingText: String {
        var table = TextTable(["what", "GB/s", "million rows/s"])
        for row in serving {
            table.add([
                row.name, Units.fixed(row.gigabytesPerSecond, 2), Units.fixed(row.rowsPerSecond / 1e6, 2),
            ])
        }
        return table.render()
    }

    private var worldText: String {
        var table = TextTable(["shards", "workers", "ms", "throughput against the first", "peak GB of a shard"])
        for row in worlds {
            table.add([
                "\(row.shards)", "\(row.workers)", Units.fixed(row.milliseconds, 1),
                Units.fixed((worlds.first?.milliseconds ?? 0) / row.milliseconds, 2),
                Units.fixed(Double(row.shardResidentBytes) / 1e9, 2),
            ])
        }
        return table.render()
    }

    private var exchangeText: String {
        var table = TextTable(["on the wire", "ms"])
        for row in exchanges { table.add([row.exchange, Units.fixed(row.milliseconds, 1)]) }
        return table.render()
    }
}
