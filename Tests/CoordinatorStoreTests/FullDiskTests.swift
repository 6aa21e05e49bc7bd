import Cluster
import CoordinatorStore
import Foundation
import StepProtocol
import TestSupport
import Testing

/// A disk that fills up, and has room again.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct FullDiskTests {
    @Test func decisionsCanBeRepeatedWhenThereIsRoom() throws {
        let folder = try TemporaryFolder()
        guard try Self.run("mount", "-t", "tmpfs", "-o", "size=1m", "partialfc-test", folder.path) else {
            print("skipped: a tmpfs cannot be mounted here (it takes root)")
            return
        }
        defer { _ = try? Self.run("umount", "-l", folder.path) }
        let store = try CoordinatorDatabase(directory: folder.path + "/state")
        func id(_ step: Int) -> StepID { StepID(term: 1, step: step, attempt: 0) }
        try store.create(.init(id: "c", configuration: ""))
        try store.write([.term(1, committed: -1), .committed(id(3))])
        let before = try #require(try store.load())

        // Fill it to the last page.
        let filler = try folder.write([], to: "filler")
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: filler))
        for size in [65_536, 4096] {
            while (try? handle.write(contentsOf: Data(repeating: 0, count: size))) != nil {}
        }
        // The log that SQLite has begun may have room for some decisions; it does not grow.
        var written = 3
        var failure: CoordinatorStoreError?
        while failure == nil && written < 10_000 {
            do {
                try store.write([.committed(id(written + 1)), .failed(String(repeating: "x", count: 2000))])
                written += 1
            } catch { failure = error }
        }
        #expect(failure?.code == .diskFull, "\(failure?.message ?? "it never was full")")
        #expect(try store.load()?.record.committed == written)
        #expect(try store.load()?.cluster == before.cluster)

        try handle.close()
        try FileManager.default.removeItem(atPath: filler)
        try store.write([.committed(id(written + 1)), .failed(nil)])
        store.close()
        #expect(try CoordinatorDatabase(directory: folder.path + "/state").load()?.record.committed == written + 1)
    }

    private static func run(_ arguments: String...) throws -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}
