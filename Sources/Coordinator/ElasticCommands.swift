import ArgumentParser
import OperatorStatus
import ProcessSupport

/// `coordinator drain`.
struct Drain: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a shard server hand its slices over and end, while training goes on.",
        discussion: "SIGTERM to the shard server does the same. `coordinator shards` shows how far it is.")
    @Argument(help: "The shard: shard-3.") var name: String
    @OptionGroup var connection: Connection

    func run() throws {
        let status = try connection.ask("drain", ["name": name], as: ClusterStatus.self)
        connection.print(status) { "\(name) hands its slices over and ends then" }
    }
}

/// `coordinator undrain`.
struct Undrain: OperatorCommand {
    static let configuration = CommandConfiguration(abstract: "Let a shard server stay that was told to drain.")
    @Argument(help: "The shard: shard-3.") var name: String
    @OptionGroup var connection: Connection

    func run() throws {
        let status = try connection.ask("undrain", ["name": name], as: ClusterStatus.self)
        connection.print(status) { "\(name) stays" }
    }
}

/// `coordinator rebalance`.
struct RebalanceCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebalance",
        abstract: "Move slices until all shards own about as many; prints the plan.",
        discussion: """
            The fewest slices that it takes are moved: copied in the background while training goes on, and cut over at \
            a step boundary. With cluster.rebalance: auto this happens by itself when a shard joins.
            """)
    @Flag(help: "Print the plan, move nothing.") var dryRun = false
    @OptionGroup var connection: Connection

    func run() throws {
        let moves = try connection.ask(
            "rebalance", ["dry_run": "\(dryRun)"], as: [ClusterStatus.Move].self)
        connection.print(moves) {
            if moves.isEmpty { return "every shard owns its part already: nothing to move" }
            var table = TextTable(["slice", "from", "to"])
            for move in moves { table.add([move.slice, move.from, move.to]) }
            return table.render() + "\n\(moves.count) \(dryRun ? "slices would move" : "slices move")"
        }
    }
}

/// `coordinator forget`.
struct Forget: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Give a shard up whose directory is lost: its slices go to the others.",
        discussion: """
            With cluster.copies 2, when every slice of the shard has a second copy, they are made from these copies and no step is lost.
            Otherwise the whole cluster goes back to the newest checkpoint. Only for a shard that does not run any more.
            """)
    @Argument(help: "The shard: shard-3.") var name: String
    @OptionGroup var connection: Connection

    func run() throws {
        let status = try connection.ask("forget", ["name": name], as: ClusterStatus.self)
        connection.print(status) { "\(name) is forgotten; \(status.state) \(status.reason)" }
    }
}
