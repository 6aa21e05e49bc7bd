import Foundation
import ProcessSupport
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SystemProblemTests {
    /// Foundation's own words say nothing.
    @Test func theSystemsWordsAreFound() throws {
        let manager = FileManager.default
        let base = manager.temporaryDirectory.appending(path: "problem-\(UUID().uuidString)")
        try manager.createDirectory(at: base, withIntermediateDirectories: true)
        defer { try? manager.removeItem(at: base) }
        let file = base.appending(path: "file").path
        try Data("x".utf8).write(to: URL(fileURLWithPath: file))
        func reason(_ body: () throws -> Void) -> String {
            do { try body() } catch { return SystemProblem.text(error) }
            return "nothing"
        }
        let made = reason { try manager.createDirectory(atPath: file + "/x", withIntermediateDirectories: true) }
        let written = reason { try Data().write(to: URL(fileURLWithPath: base.path + "/no/x")) }
        let taken = reason { try manager.createDirectory(atPath: file, withIntermediateDirectories: true) }
        #expect(made.contains("Not a directory") || made.contains("cannot be written"), "\(made)")
        #expect(written.contains("No such file or directory"), "\(written)")
        #expect(taken.contains("File exists"), "\(taken)")
        for text in [made, written, taken] {
            #expect(!text.contains("Domain") && !text.contains("completed"), "\(text)")
        }
        struct Own: Error, CustomStringConvertible { var description: String { "own words" } }
        #expect(SystemProblem.text(Own()) == "own words")
    }

    @Test func placesAreLookedAtBeforeTheWork() throws {
        #expect(WritablePlace.problem(ofFile: "/tmp") != nil)
        #expect(WritablePlace.problem(ofFile: "/tmp/partialfc-not-there") == nil)
        #expect(WritablePlace.problem(ofFile: "/no/where") != nil)
        #expect(WritablePlace.problem(ofFile: "a") == nil)
        #expect(WritablePlace.problem(ofDirectory: "/dev/null") != nil)
        #expect(WritablePlace.problem(ofDirectoryToBe: "/tmp/partialfc-not-there/b/c") == nil)
        #expect(WritablePlace.problem(ofDirectoryToBe: "/dev/null/b") != nil)
    }
}
