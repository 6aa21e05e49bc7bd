import ArgumentParser
import Cluster
import OperatorStatus

/// `coordinator set`.
struct SetValue: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Change the learning rate of the steps to come.",
        discussion: """
            lr=0.01 is the rate itself, lr=*0.1 a factor of what the schedule has (not of what was set before), lr=schedule takes \
            changes back. It holds from the next step on that has not begun, and belongs to that step: whatever is done again, after a \
            crash or from a checkpoint, is done with the same rates. A change after going back to a checkpoint replaces those that \
            came later. Pause first to say exactly which step is the first.
            """)
    @Argument(help: ArgumentHelp("What, and what it is to be.", valueName: "lr=value")) var assignment: Assignment
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

        static var defaultCompletionKind: CompletionKind { .list(["lr=schedule", "lr=*0.1", "lr=0.01"]) }
    }

    func validate() throws {
        guard assignment.key == "lr" else {
            throw ValidationError("\(assignment.key) cannot be set; lr is all that can be")
        }
        do { _ = try LearningRateRule(assignment.value) } catch { throw ValidationError("\(error)") }
    }

    func run() throws {
        let status = try connection.ask("set", [assignment.key: assignment.value], as: ClusterStatus.self)
        connection.print(status) {
            guard let change = status.learningRateChanges.last else { return "nothing is changed" }
            guard let step = change.fromStep else {
                return "learning rate \(change.rule) from the next step on that has not begun"
            }
            return "learning rate \(change.rule) from step \(step) on"
        }
    }
}
