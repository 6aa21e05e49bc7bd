import ClusterHarness
import Foundation
import TestSupport
import Testing

/// Programs that a machine may have or not.
private enum InstalledProgram {
    static let python = ["/usr/bin/python3", "/usr/local/bin/python3"].first(where: exists)

    static func exists(_ path: String) -> Bool { FileManager.default.isExecutableFile(atPath: path) }
}

/// The manual pages that `scripts/man-pages` makes of the programs' own help.
@Suite(
    .tags(.cluster), .ownThread, .timeLimit(.minutes(20)),
    .enabled(if: InstalledProgram.python != nil, "python3 is not installed")) struct ManualTests
{
    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appending(path: "../../scripts/man-pages").standardizedFileURL.path

    private func run(_ program: String, _ arguments: [String]) throws -> (code: Int32, text: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["LC_ALL": "C.UTF-8", "MANWIDTH": "100"]) {
            $1
        }
        let output = Pipe()
        (process.standardOutput, process.standardError) = (output, output)
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }

    private struct Tool: Decodable {
        struct Command: Decodable {
            struct Argument: Decodable {
                struct Name: Decodable { var name: String }
                var names: [Name]?
                var shouldDisplay: Bool
            }
            var commandName: String
            var subcommands: [Command]?
            var arguments: [Argument]?
        }
        var command: Command
    }

    @Test func everyCommandAndOptionHasItsPlace() throws {
        try withDirectory { directory in
            let made = try run(
                InstalledProgram.python ?? "", [Self.script, LocalCluster.builtBinaries.path, directory.path])
            try #require(made.code == 0, "\(made.text)")
            for program in ["coordinator", "shard-server", "worker"] {
                let path = directory.appending(path: "man1/\(program).1").path
                let page = try String(contentsOfFile: path, encoding: .utf8).replacing("\\-", with: "-")
                #expect(page.hasPrefix(".TH \(program.uppercased()) 1 "))
                let help = try run(
                    LocalCluster.builtBinaries.appending(path: program).path, ["--experimental-dump-help"])
                var commands = [try JSONDecoder().decode(Tool.self, from: Data(help.text.utf8)).command]
                while let command = commands.popLast() {
                    if command.commandName == "help" { continue }
                    #expect(page.contains(command.commandName), "\(command.commandName)")
                    for argument in command.arguments ?? [] where argument.shouldDisplay {
                        for name in argument.names ?? [] {
                            #expect(
                                page.contains("\\fB-\(name.name.count > 1 ? "-" : "")\(name.name)\\fR"), "\(name.name)")
                        }
                    }
                    commands += command.subcommands ?? []
                }
                if InstalledProgram.exists("/usr/bin/man") {
                    let shown = try run("/usr/bin/man", ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", path])
                    #expect(shown.code == 0 && !shown.text.contains("warning:"), "\(shown.text.prefix(500))")
                }
                if InstalledProgram.exists("/usr/bin/mandoc") {
                    let lint = try run("/usr/bin/mandoc", ["-T", "lint", "-W", "warning", path])
                    #expect(lint.code == 0, "\(lint.text)")
                }
            }
        }
    }
}
