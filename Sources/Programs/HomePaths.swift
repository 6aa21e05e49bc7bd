import Configuration
import Foundation

/// `~/` in options and variables that no shell has seen: `--state=~/runs`, a command of a compose file, `PARTIALFC_STATE`.
enum HomePaths {
    /// The arguments of a program, with `~/` at the beginning of a value replaced by the home directory.
    ///
    /// - Throws: `HomeDirectoryError` if there is no home directory, or another user's is meant.
    static func expand(_ arguments: [String]) throws(HomeDirectoryError) -> [String] {
        var expanded: [String] = []
        for argument in arguments {
            if argument == "~" || argument.hasPrefix("~/") {
                expanded.append(try HomeDirectory.expand(argument))
            } else if argument.hasPrefix("--"), let equals = argument.firstIndex(of: "="),
                argument[argument.index(after: equals)...].hasPrefix("~")
            {
                let value = String(argument[argument.index(after: equals)...])
                expanded.append(argument[...equals] + (try HomeDirectory.expand(value)))
            } else {
                expanded.append(argument)
            }
        }
        return expanded
    }

    /// The same in the variables of the programs.
    static func expandEnvironment() throws(HomeDirectoryError) {
        for (name, value) in ProcessInfo.processInfo.environment
        where name.hasPrefix("PARTIALFC_") && value.hasPrefix("~") {
            setenv(name, try HomeDirectory.expand(value), 1)
        }
    }
}
