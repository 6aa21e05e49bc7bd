import ArgumentParser
import Cluster
import OperatorStatus

/// `coordinator set`.
struct SetValue: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Change the learning rate, or values of the head, of the steps to come.",
        discussion: """
            lr=0.01 is the rate itself, lr=*0.1 a factor of what the schedule has (not of what was set before), lr=schedule takes \
            changes back. Of the head sample_rate, m1, m2, m3, scale and interclass_filter can be set, each to a number, or to schedule \
            for what the configuration has; those that are not named stay as they are. Everything that one command names holds from the \
            same step on: the next one that has not begun. It belongs to that step: whatever is done again, after a crash or from a \
            checkpoint, is done with the same values. A change after going back to a checkpoint replaces those of the same values that \
            came later. Pause first to say exactly which step is the first.
            """)
    @Argument(
        help: ArgumentHelp(
            "What, and what it is to be: lr, sample_rate, m1, m2, m3, scale, interclass_filter.",
            valueName: "name=value"))
    var assignments: [Assignment]
    @OptionGroup var connection: Connection

    /// The text on both sides of the equals sign.
    struct Assignment: ExpressibleByArgument {
        var key: String
        var value: String

        init?(argument: String) {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { return nil }
            (key, value) = (String(parts[0]), String(parts[1]))
        }

        static var defaultCompletionKind: CompletionKind {
            .list(["lr=schedule", "lr=*0.1", "lr=0.01"] + HeadValues.Name.allCases.map { "\($0.rawValue)=schedule" })
        }
    }

    func validate() throws {
        if let twice = assignments.first(where: { one in assignments.count { $0.key == one.key } > 1 }) {
            throw ValidationError("\(twice.key) is named twice")
        }
        do { _ = try Assignments(values) } catch { throw ValidationError("\(error)") }
    }

    private var values: [String: String] { Dictionary(assignments.map { ($0.key, $0.value) }) { $1 } }

    func run() throws {
        let status = try connection.ask("set", values, as: ClusterStatus.self)
        connection.print(status) {
            let assignments = try? Assignments(values)
            var lines: [String] = []
            if assignments?.rate != nil, let change = status.learningRateChanges.last {
                lines.append("learning rate \(change.rule) \(Self.since(change.fromStep))")
            }
            // Changes of later steps, from before the run went back, say nothing of what was set now.
            if let order = assignments?.head,
                let change = status.headChanges?.last(where: { (try? HeadOrder($0.order))?.contains(order) == true })
            {
                lines.append("\(order) \(Self.since(change.fromStep))")
            }
            return lines.isEmpty ? "nothing is changed" : lines.joined(separator: "\n")
        }
    }

    private static func since(_ step: Int?) -> String {
        step.map { "from step \($0) on" } ?? "from the next step on that has not begun"
    }
}
