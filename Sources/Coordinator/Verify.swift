import ArgumentParser
import Foundation
import ParameterStore
import ProcessSupport

/// `coordinator verify`.
struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read a checkpoint again and compare every hash.",
        discussion: "Exits with 1 if a file is missing, too short or damaged. Needs no running cluster.")
    @Argument(help: "The checkpoint's directory.", completion: .directory) var path: String
    @Flag(help: "Print JSON.") var json = false

    /// The JSON that it prints.
    private struct Answer: Encodable {
        var directory: String
        var step: Int
        var files: Int
        var bytes: Int
        var problems: [String]
    }

    func run() throws {
        try offline {
            let reader = try CheckpointReader(directory: URL(fileURLWithPath: path).standardizedFileURL.path)
            let problems = reader.verify()
            let files = reader.manifest.files
            let answer = Answer(
                directory: path, step: reader.manifest.step, files: files.count,
                bytes: files.reduce(0) { $0 + $1.bytes }, problems: problems)
            if json {
                print(String(decoding: try StatusJSON.encode(answer, pretty: true), as: UTF8.self))
            } else {
                for problem in problems { print(problem) }
                print("step \(answer.step): \(answer.files) files, \(answer.bytes) bytes, \(problems.count) problems")
            }
            if !problems.isEmpty { throw ExitCode(1) }
        }
    }
}

/// Runs a command that needs no cluster: what goes wrong ends the process with code 66 and a line.
func offline(_ body: () throws -> Void) throws {
    do { try body() } catch let code as ExitCode { throw code } catch {
        FileHandle.standardError.write(Data("coordinator: \(SystemProblem.text(error))\n".utf8))
        throw ExitCode(66)
    }
}
