import ArgumentParser
import Foundation
import ParameterStore
import ProcessSupport

/// `coordinator verify`.
struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read a checkpoint again and compare every hash.",
        discussion: """
            Of a directory with checkpoints or backups, all of them (with --json, an array). Exits with 1 if a file is missing, too short \
            or damaged. Needs no running cluster.
            """)
    @Argument(help: "A checkpoint, or a directory with some.", completion: .directory) var path: String
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
            let path = URL(fileURLWithPath: path).standardizedFileURL.path
            let (checkpoints, unreadable) = try CheckpointPlaces.find(path)
            for problem in unreadable { print(problem) }
            let answers = checkpoints.map(verify)
            let isOne = checkpoints.map(\.directory) == [path]
            if json {
                if isOne { try StatusJSON.print(answers[0]) } else { try StatusJSON.print(answers) }
            }
            guard unreadable.isEmpty, answers.allSatisfy(\.problems.isEmpty) else { throw ExitCode(1) }
        }
    }

    private func verify(_ reader: CheckpointReader) -> Answer {
        let (files, jobFiles) = (reader.manifest.files, reader.manifest.jobFiles ?? [])
        let answer = Answer(
            directory: reader.directory, step: reader.manifest.step, files: files.count + jobFiles.count,
            bytes: files.reduce(0) { $0 + $1.bytes } + jobFiles.reduce(0) { $0 + $1.bytes }, problems: reader.verify())
        if !json {
            for problem in answer.problems { print(problem) }
            print(
                "step \(answer.step): \(answer.files) files, \(answer.bytes) bytes, \(answer.problems.count) problems")
        }
        return answer
    }
}

/// Runs a command that needs no cluster: what goes wrong ends the process with a line and code 75 for a full
/// disk or a directory in use, else 66.
func offline(_ body: () throws -> Void) throws {
    do { try body() } catch let code as ExitCode { throw code } catch {
        complain(SystemProblem.text(error))
        let code = (error as? CenterStoreError)?.code
        throw ExitCode(code == .diskFull || code == .locked ? 75 : 66)
    }
}

/// Writes a line to standard error.
func complain(_ text: String) { FileHandle.standardError.write(Data("coordinator: \(text)\n".utf8)) }
