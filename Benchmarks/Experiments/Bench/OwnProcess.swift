import Foundation

/// This program once more, as a process of its own.
enum OwnProcess {
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    static var program: URL { URL(filePath: "/proc/self/exe").resolvingSymlinksInPath() }

    /// Runs it with `arguments` and decodes what it prints.
    ///
    /// - Throws: `Failure` if it fails.
    static func ask<Answer: Decodable>(_ type: Answer.Type, _ arguments: [String]) throws -> Answer {
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure(
                description: "experiments \(arguments.joined(separator: " ")) ended with \(process.terminationStatus)")
        }
        return try JSONDecoder().decode(Answer.self, from: data)
    }
}
