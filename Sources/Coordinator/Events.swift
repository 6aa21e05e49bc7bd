import ArgumentParser
import ClusterStatus
import Foundation

/// `coordinator events`.
struct Events: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what happened: who joined and went, what was skipped, moved and written.")
    @Option(name: .shortAndLong, help: "How many, the last ones.") var count = 50
    @OptionGroup var connection: Connection

    func validate() throws {
        guard (1...10_000).contains(count) else { throw ValidationError("--count \(count) is not in 1...10000") }
    }

    func run() throws {
        let events = try connection.ask("events", ["count": "\(count)"], as: [ClusterEvent].self)
        connection.print(events) {
            let format = ISO8601DateFormatter()
            return events.map { event in
                "\(format.string(from: Date(timeIntervalSince1970: event.time)))  \(event.level)  \(event.text)"
            }.joined(separator: "\n")
        }
    }
}
