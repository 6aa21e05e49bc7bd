import ArgumentParser
import Coordinator
import Foundation
import ProcessSupport
import ShardServer
import Worker

/// `coordinator`, `shard-server` and `worker`: one program, which is the one under whose name it was started.
///
/// So that an installation may have it once and three links to it: most of it is Foundation, which all three need. Under any other
/// name the first argument says which one: `partialfc worker train`.
@main
enum ProgramByName {
    static func main() {
        ProcessLimits.prepare()
        let arguments: [String]
        do {
            try HomePaths.expandEnvironment()
            arguments = try HomePaths.expand(CommandLine.arguments)
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            exit(64)
        }
        if let program = program(arguments[0]) {
            program.main(Array(arguments.dropFirst()))
        } else if arguments.count > 1, let program = program(arguments[1]) {
            program.main(Array(arguments.dropFirst(2)))
        } else {
            let name = (arguments[0] as NSString).lastPathComponent
            FileHandle.standardError.write(
                Data("usage: \(name) coordinator|shard-server|worker …, or started under one of these names\n".utf8))
            exit(64)
        }
    }

    private static func program(_ path: String) -> (any ParsableCommand.Type)? {
        switch (path as NSString).lastPathComponent {
        case "coordinator": CoordinatorCommand.self
        case "shard-server": ShardServerCommand.self
        case "worker": WorkerCommand.self
        default: nil
        }
    }
}
