import ClusterHarness
import Foundation
import TestSupport
import Testing

/// The harness's processes: what the tests of faults rely on.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct ProcessTests {
    private func process(_ script: String, in directory: URL) -> ClusterProcess {
        ClusterProcess(
            name: "script", program: URL(fileURLWithPath: "/bin/sh"), arguments: ["-c", script],
            environment: ["WORD": "here"], log: directory.appending(path: "script.log"))
    }

    private func text(_ directory: URL) -> String {
        (try? String(contentsOf: directory.appending(path: "script.log"), encoding: .utf8)) ?? ""
    }

    @Test func aProcessIsStartedAgainAndItsLogGoesOn() throws {
        try withDirectory { directory in
            let process = process("echo $WORD; exec sleep 100", in: directory)
            #expect(!process.isRunning)
            for start in 1...2 {
                try process.start()
                #expect(throws: HarnessError.self) { try process.start() }
                while text(directory).split(separator: "\n").count < start { Thread.sleep(forTimeInterval: 0.01) }
                #expect(process.isRunning && process.ending == nil)
                process.kill()
                #expect(!process.isRunning)
                #expect(process.ending == "signal 9" && process.wasEnded)
            }
            #expect(text(directory) == "here\nhere\n")
            #expect(process.starts == 2)
        }
    }

    @Test func aStoppedProcessGoesOnOrIsKilled() throws {
        try withDirectory { directory in
            let process = process("while true; do echo line; sleep 0.01; done", in: directory)
            try process.start()
            func waitForLines(after count: Int) { while text(directory).count <= count { usleep(10_000) } }
            waitForLines(after: 0)
            process.suspend()
            #expect(process.isRunning && process.isSuspended)
            usleep(50_000)
            let written = text(directory).count
            usleep(300_000)
            #expect(text(directory).count == written, "a stopped process writes")
            process.resume()
            waitForLines(after: written)
            process.suspend()
            process.kill()
            #expect(!process.isRunning && !process.isSuspended)
        }
    }

    @Test func anEndingOfItsOwnIsSeen() throws {
        try withDirectory { directory in
            let process = process("exit 3", in: directory)
            try process.start()
            try #require(process.waitUntilExit(seconds: 20))
            #expect(process.ending == "exit code 3" && !process.wasEnded)
        }
    }
}
