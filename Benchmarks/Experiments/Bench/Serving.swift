import ArgumentParser
import ClusterHarness
import ClusterKeys
import Foundation
import ProcessSupport
import Tensors
import Wire

/// `experiments serving`.
struct Serving: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Pull and push rows over loopback TCP: one process serves a table, one asks, gather and scatter included."
    )

    /// Element types that rows are served in.
    enum RowType: String, ExpressibleByArgument, CaseIterable {
        case f32, bf16

        var dtype: DType { self == .f32 ? .f32 : .bf16 }
    }

    @Option(help: "Element type of the rows: f32 or bf16; both unless given.")
    var dtype: RowType?

    @Option(help: "Rows per pull and per push.")
    var rows = 100_000

    @Option(help: "Numbers per row.")
    var size = 512

    @Option(help: "Rows of the server's table.")
    var tableRows = 1_000_000

    @Option(help: "Repetitions of which the median is taken.")
    var repetitions = 15

    @Option(help: "Threads of the server that gather and scatter.")
    var threads = ProcessInfo.processInfo.activeProcessorCount

    @Option(help: "A key set of `coordinator keys new`: with keys.", completion: .directory)
    var keys: String?

    @Option(help: "With keys: whether the rows are encrypted, all or control.")
    var encrypt = Encryption.all

    @Flag(help: "Print a JSON array.")
    var json = false

    @Flag(help: .hidden)
    var serve = false

    func validate() throws {
        guard size > 0, size % 2 == 0 else { throw ValidationError("--size \(size) is not an even number above 0") }
        guard (1...tableRows).contains(rows) else { throw ValidationError("--rows \(rows) is not in 1...\(tableRows)") }
        guard repetitions > 0, threads > 0 else { throw ValidationError("--repetitions and --threads are above 0") }
    }

    func run() throws {
        ProcessMemory.keepFreedMemory()
        let keys = try keys.map { try LocalKeys(URL(fileURLWithPath: $0), encryption: encrypt) }
        if serve {
            let security = try keys?.security("shard-server", as: .shard).server ?? .none
            return try ServingShard(shape: shape(dtype ?? .f32), threads: threads).run(security)
        }
        let security = try keys?.security("worker", as: .worker).shards ?? .none
        var results: [ServingClient.Result] = []
        for dtype in dtype.map({ [$0] }) ?? RowType.allCases {
            results += try withServer(dtype) { endpoint in
                try ServingClient(connect: endpoint, security: security, shape: shape(dtype), rows: rows)
                    .measure(repetitions: repetitions)
            }
        }
        if json { return try Experiments.sayJSON(results) }
        var table = TextTable(["what", "MB", "ms", "GB/s", "million rows/s"])
        for result in results {
            table.add([
                result.name, Units.fixed(Double(result.bytes) / 1e6, 1), Units.fixed(result.seconds * 1000, 1),
                Units.fixed(result.gigabytesPerSecond, 2), Units.fixed(result.rowsPerSecond / 1e6, 2),
            ])
        }
        Experiments.say(table.render())
        Experiments.say(
            "\(rows) of \(tableRows) rows of \(size), one shard with \(threads) threads, one worker, medians of \(repetitions)"
        )
    }

    private func shape(_ type: RowType) -> ServingShard.Shape {
        ServingShard.Shape(tableRows: tableRows, size: size, dtype: type.dtype)
    }

    /// Starts this program again as the server; it ends when its standard input does.
    private func withServer<R>(_ type: RowType, _ body: (String) throws -> R) throws -> R {
        let process = Process()
        process.executableURL = OwnProcess.program
        process.arguments = [
            "serving", "--serve", "--dtype", type.rawValue, "--size", "\(size)", "--table-rows", "\(tableRows)",
            "--rows",
            "\(rows)", "--threads", "\(threads)",
        ]
        if let keys { process.arguments? += ["--keys", keys, "--encrypt", encrypt.rawValue] }
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        defer {
            try? input.fileHandleForWriting.close()
            process.waitUntilExit()
        }
        var line = ""
        while !line.hasSuffix("\n") {
            let bytes = output.fileHandleForReading.availableData
            guard !bytes.isEmpty else {
                throw ServingClient.Failure(description: "the server ended before it listened")
            }
            line += String(decoding: bytes, as: UTF8.self)
        }
        return try body(line.trimmingCharacters(in: .newlines))
    }
}
