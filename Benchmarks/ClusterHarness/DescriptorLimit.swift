internal import Foundation

extension ClusterProcess {
    /// Lets the running process have so many descriptors, by `prlimit` of util-linux.
    ///
    /// - Throws: `HarnessError` if that cannot be done.
    public func limitDescriptors(to count: Int) throws {
        let command = Process()
        command.executableURL = URL(fileURLWithPath: "/usr/bin/prlimit")
        // The hard limit stays, so that it can be raised again.
        command.arguments = ["--pid", "\(processIdentifier)", "--nofile=\(count):"]
        try command.run()
        command.waitUntilExit()
        guard command.terminationStatus == 0 else {
            throw HarnessError("the descriptors of \(name) cannot be limited to \(count)")
        }
    }
}
