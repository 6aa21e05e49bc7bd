import ClusterHarness
import Foundation
import TestSupport
import Testing

/// Three programs in one file.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct ProgramTests {
    /// Runs the program through a link of another name.
    private func run(as name: String, _ arguments: [String], in directory: URL) throws -> (code: Int32, text: String) {
        let link = directory.appending(path: name)
        if !FileManager.default.fileExists(atPath: link.path) {
            try FileManager.default.createSymbolicLink(
                at: link, withDestinationURL: LocalCluster.builtBinaries.appending(path: "coordinator"))
        }
        let process = Process()
        process.executableURL = link
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: data, as: UTF8.self))
    }

    @Test func aLinkIsTheProgramOfItsName() throws {
        try withDirectory { directory in
            for name in ["coordinator", "shard-server", "worker"] {
                let itself = try LocalCluster.run(name, ["--help"])
                #expect(itself.code == 0 && itself.text.contains("USAGE: \(name)"), "\(itself.text)")
                let link = try run(as: name, ["--help"], in: directory)
                #expect(link.code == 0 && link.text == itself.text)
                let argument = try run(as: "partialfc", [name, "--help"], in: directory)
                #expect(argument.code == 0 && argument.text == itself.text)
            }
            for arguments in [[], ["--help"], ["trainer"]] {
                let nothing = try run(as: "partialfc", arguments, in: directory)
                #expect(nothing.code == 64 && nothing.text.contains("usage: partialfc coordinator|"), "\(nothing.text)")
            }
        }
    }
}
