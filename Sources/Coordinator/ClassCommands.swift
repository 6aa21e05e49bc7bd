import ArgumentParser
import Foundation
import OperatorStatus
import ProcessSupport
import Wire

/// `coordinator classes`.
struct Classes: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, add, retire and merge classes at a step boundary, without discarding the head.",
        subcommands: [ListClasses.self, AddClasses.self, RetireClasses.self, MergeClasses.self],
        defaultSubcommand: ListClasses.self)
}

/// `coordinator classes list`.
struct ListClasses: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Show how many classes there are, and every change.")
    @OptionGroup var connection: Connection

    func run() throws {
        let classes = try connection.ask("classes", ["action": "list"], as: ClassStatus.self)
        connection.print(classes) {
            var lines = ["\(classes.classes) classes, \(classes.retired) of them retired; version \(classes.version)"]
            if !classes.operations.isEmpty {
                var table = TextTable(["version", "operation", "after step"])
                for (index, operation) in classes.operations.enumerated() {
                    table.add(["\(index + 1)", operation.text, operation.afterStep.map { "\($0)" } ?? "waits"])
                }
                lines.append(table.render())
            }
            return lines.joined(separator: "\n")
        }
    }
}

/// `coordinator classes add`.
struct AddClasses: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Add classes after the last one.",
        discussion: """
            Their centers are random, as at the beginning of a run, or the rows of the tensor `centers` [N, D] of a \
            safetensors file, which every shard must be able to read under the same path. Every shard reads it before the order is \
            decided: if one cannot, or reads something else, the order is refused, and nothing has changed.
            """)
    @Argument(help: "How many.") var count: Int
    @Option(help: "A safetensors file with `centers`.", completion: .file(extensions: ["safetensors"]))
    var from: String?
    @OptionGroup var connection: Connection

    func run() throws {
        var arguments = ["action": "add", "count": "\(count)"]
        arguments["from"] = from.map { URL(fileURLWithPath: $0).standardizedFileURL.path }
        try order(arguments, connection)
    }
}

/// `coordinator classes retire`.
struct RetireClasses: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "retire", abstract: "Never sample these classes again; samples of theirs are replaced by others.")
    @Argument(help: "Numbers and ranges: 4,17,100-199.") var list: String
    @OptionGroup var connection: Connection

    func run() throws { try order(["action": "retire", "list": list], connection) }
}

/// `coordinator classes merge`.
struct MergeClasses: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge", abstract: "Let the samples of class A count as class B from now on; A is retired.")
    @Argument(help: "The class that goes.") var a: Int
    @Argument(help: "The class that stays, with its center as it is.") var b: Int
    @OptionGroup var connection: Connection

    func run() throws { try order(["action": "merge", "a": "\(a)", "b": "\(b)"], connection) }
}

/// Gives an order about classes, waits until shards have checked it if they must, and shows what is ordered now.
private func order(_ arguments: [String: String], _ connection: Connection) throws {
    let client = try connection.connectToCoordinator()
    defer { client.close() }
    var classes = try connection.ask("classes", arguments, as: ClassStatus.self, of: client)
    if arguments["from"] != nil, let number = classes.order?.number {
        var nextWord = ContinuousClock.now + .seconds(3)
        while let order = classes.order, order.number == number, order.state == "checking" {
            if ContinuousClock.now >= nextWord {
                nextWord = .now + .seconds(10)
                let whom = order.waitsFor.isEmpty ? "the next step boundary" : order.waitsFor.joined(separator: ", ")
                connection.complain("waiting for \(whom); `coordinator cancel` calls the order off")
            }
            Thread.sleep(forTimeInterval: 0.1)
            classes = try connection.ask("classes", ["action": "list"], as: ClassStatus.self, of: client)
        }
        guard let order = classes.order, order.number == number else {
            connection.complain(
                "what became of the order is not known: the coordinator was started again, or another order came. See `coordinator classes list`"
            )
            throw ExitCode(75)
        }
        if order.state == "refused" {
            connection.complain("refused: \(order.problem)")
            throw ExitCode(65)
        }
    }
    let answer = classes
    connection.print(answer) {
        let waiting = answer.operations.count { $0.afterStep == nil }
        return "ordered: \(answer.operations.last?.text ?? ""); \(waiting) to be applied at the next step boundaries"
    }
}
