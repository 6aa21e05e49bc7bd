import ArgumentParser
import Foundation
import ParameterStore
import ProcessSupport

/// `experiments bench`.
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Measure the head, row serving, sampling and clusters beside this machine's limits; a table and JSON.",
        discussion: "Every measurement is a process of its own, so that its memory is. What does not fit is left out.")

    @Option(help: "Rounds; medians are shown.") var runs = 1
    @Option(help: "Threads that compute.") var threads = ProcessInfo.processInfo.activeProcessorCount
    @Option(help: "The most classes.") var largest = 10_000_000
    @Option(help: "The file for the figures.") var json = "bench/bench.json"

    func run() throws {
        var rounds: [BenchReport] = []
        for round in 1...max(1, runs) {
            if runs > 1 { Experiments.say("round \(round) of \(runs)") }
            rounds.append(try measure())
        }
        let report = BenchReport.median(of: rounds)
        Experiments.say(report.text)
        let file = URL(filePath: json)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try encoder.encode(report).write(to: file)
        Experiments.say("\nthe figures are in \(json)")
    }

    private func measure() throws -> BenchReport {
        var report = BenchReport(machine: .this, limits: try ask("limits", "--threads", "\(threads)"))
        for classes in [100_000, 1_000_000, 10_000_000] where classes <= largest {
            for rate in [0.1, 1.0] {
                for numbers in HeadNumbers.compared where numbers.fits(classes: classes, rate: rate) {
                    report.head.append(
                        try head(numbers, ["--classes", "\(classes)", "--sample-rate", "\(rate)"]))
                }
            }
        }
        for batch in [32, 64, 128, 256, 512] {
            report.batches.append(
                try head(.half, ["--batch", "\(batch)", "--classes", "\(min(1_000_000, largest))"]))
        }
        // What a fixed order of sums costs: one block per thread could add in any order.
        for (slices, microBatch) in [(1, 128), (16, 32), (64, 16)] {
            for numbers in HeadNumbers.compared {
                report.cuts.append(
                    try head(
                        numbers,
                        [
                            "--slices", "\(slices)", "--micro-batch", "\(microBatch)", "--classes",
                            "\(min(1_000_000, largest))", "--threads", "1",
                        ]))
            }
        }
        report.sampling = try ask("sampling")
        report.serving = try ask("serving", "--threads", "\(threads)", "--json")
        report.worlds = try ask(
            "worlds", "--threads", "\(threads)", "--classes", "\(min(1_000_000, largest))", "--bf16")
        for formats in [[], ["--bf16"], ["--bf16", "--exchange-rows", "int8", "--exchange-gradients", "bf16"]] {
            let arguments =
                ["worlds", "--exchange", "rows", "--worlds", "1:1", "--threads", "\(threads)", "--classes"]
                + ["\(min(1_000_000, largest))"] + formats
            Experiments.note(arguments.joined(separator: " "))
            report.exchanges += try OwnProcess.ask([WorldSpeed].self, arguments)
        }
        return report
    }

    private func head(_ numbers: HeadNumbers, _ arguments: [String]) throws -> HeadFigures {
        Experiments.note("head \((numbers.arguments + arguments).joined(separator: " "))")
        return try OwnProcess.ask(
            HeadFigures.self, ["head", "--json", "--threads", "\(threads)"] + numbers.arguments + arguments)
    }

    private func ask<Answer: Decodable>(_ arguments: String...) throws -> Answer {
        Experiments.note(arguments.joined(separator: " "))
        return try OwnProcess.ask(Answer.self, arguments)
    }
}

/// How numbers are kept and multiplied.
struct HeadNumbers {
    var rows: NumberFormat
    var momentum: NumberFormat
    var compute: String

    static let single = HeadNumbers(rows: .f32, momentum: .f32, compute: "f32")
    static let half = HeadNumbers(rows: .bf16, momentum: .int8, compute: "bf16")
    static let fused = HeadNumbers(rows: .f32, momentum: .f32, compute: "fma")
    static let compared = [single, fused, half]

    var arguments: [String] {
        ["--storage", rows.rawValue, "--momentum-storage", momentum.rawValue, "--compute", compute]
    }

    /// Whether a step fits into the memory that is free: the table, and a copy of the sampled part, without which no step can be
    /// taken back.
    func fits(classes: Int, rate: Double) -> Bool {
        let format = TableFormat(rows: rows, momentum: momentum)
        let bytes = format.byteCount(width: 512) * classes
        return Double(bytes) * (1 + rate) + 1.5e9 < Double(ProcessMemory.availableBytes)
    }
}
