import ArgumentParser
import Foundation
import OperatorStatus
import ProcessSupport

/// `coordinator status`.
struct Status: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what the cluster does: step, loss, speed, time left.")
    @OptionGroup var connection: Connection

    func run() throws {
        let status = try connection.status()
        connection.print(status) { status.summary }
        if status.state == "failed" { throw ExitCode(1) }
    }
}

/// `coordinator shards`.
struct Shards: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the shard servers: what they own and how much memory it takes.")
    @OptionGroup var connection: Connection

    func run() throws {
        let status = try connection.status()
        connection.print(status.shards) { status.shardTable }
    }
}

/// `coordinator workers`.
struct Workers: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the workers: rank, micro-batches, where their time goes, who is late.")
    @OptionGroup var connection: Connection

    func run() throws {
        let status = try connection.status()
        connection.print(status.workers) { status.workerTable }
    }
}

/// `coordinator slices`.
struct Slices: OperatorCommand {
    static let configuration = CommandConfiguration(abstract: "List the slices of the class centers and who owns them.")
    @OptionGroup var connection: Connection

    func run() throws {
        let slices = try connection.ask("slices", as: [SliceStatus].self)
        connection.print(slices) {
            var table = TextTable(["slice", "classes", "count", "owner", "moves to"])
            for slice in slices {
                let ranges = slice.classes.filter { $0[0] < $0[1] }
                table.add([
                    "\(slice.slice)", ranges.map { "\($0[0])–\($0[1] - 1)" }.joined(separator: ", "),
                    "\(ranges.reduce(0) { $0 + $1[1] - $1[0] })", slice.owner, slice.movesTo ?? "",
                ])
            }
            return table.render()
        }
    }
}

/// `coordinator hashes`.
struct Hashes: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a hash of every slice and dense slice; equal hashes mean the same bits.")
    @OptionGroup var connection: Connection

    func run() throws {
        let hashes = try connection.hashes()
        connection.print(hashes) {
            var table = TextTable(["what", "number", "hash after step \(hashes.step)"])
            for (number, hash) in hashes.slices.sorted(by: { $0.key < $1.key }) {
                table.add(["slice", "\(number)", hash])
            }
            for (number, hash) in hashes.denseSlices.sorted(by: { $0.key < $1.key }) {
                table.add(["dense slice", "\(number)", hash])
            }
            return table.render()
        }
    }
}

/// `coordinator pause`.
struct Pause: OperatorCommand {
    static let configuration = CommandConfiguration(abstract: "Pause training at the next step boundary.")
    @OptionGroup var connection: Connection

    func run() throws {
        let status = try connection.ask("pause", as: ClusterStatus.self)
        connection.print(status) { "pausing after step \(status.committed + 1)" }
    }
}

/// `coordinator resume`.
struct Resume: OperatorCommand {
    static let configuration = CommandConfiguration(abstract: "Go on after a pause.")
    @OptionGroup var connection: Connection

    func run() throws {
        let status = try connection.ask("resume", as: ClusterStatus.self)
        connection.print(status) { status.state }
    }
}

/// `coordinator stop`.
struct Stop: OperatorCommand {
    static let configuration = CommandConfiguration(abstract: "Finish the run at the next step boundary.")
    @OptionGroup var connection: Connection

    func run() throws {
        let status = try connection.ask("stop", as: ClusterStatus.self)
        connection.print(status) { "stopping after step \(status.committed + 1)" }
    }
}
