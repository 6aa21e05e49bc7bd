import Foundation
import Synchronization
import Testing

/// The worker's executable, as a process that ends with the test.
final class WorkerProcess: Sendable {
    private let process = Mutex(Process())

    /// - Throws: if it cannot be started; the executable is built beside the tests.
    init(coordinator: String, arguments: [String] = []) throws {
        let folder = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        try process.withLock { process in
            process.executableURL = folder.appending(path: "worker")
            process.arguments =
                ["train", "--coordinator", coordinator, "--exit-with-parent", "--log-level", "error"] + arguments
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
        }
    }

    /// Waits for the end; gives the exit code.
    func exitCode() -> Int32 {
        process.withLock { process in
            process.waitUntilExit()
            return process.terminationStatus
        }
    }

    deinit { process.withLock { if $0.isRunning { $0.terminate() } } }
}
