import ArgumentParser
import ClusterStatus
import Foundation
import ProcessSupport

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
            safetensors file, which every shard must be able to read under the same path.
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

/// Gives an order about classes and shows what is ordered now.
private func order(_ arguments: [String: String], _ connection: Connection) throws {
    let classes = try connection.ask("classes", arguments, as: ClassStatus.self)
    connection.print(classes) {
        let waiting = classes.operations.count { $0.afterStep == nil }
        return "ordered: \(classes.operations.last?.text ?? ""); \(waiting) to be applied at the next step boundaries"
    }
}
