public import Cluster
internal import Foundation
internal import RunSetup
public import Wire

extension Hello {
    /// What this process says of itself, under a new incarnation.
    public static func thisProcess(role: MemberRole, name: String, threads: Int) -> Hello {
        var hello = Hello(role: role, incarnation: .random(in: 1 ... .max))
        hello.name = name
        hello.threads = threads
        hello.instructionSet = KernelChoice.description
        hello.processID = Int(ProcessInfo.processInfo.processIdentifier)
        hello.host = ProcessInfo.processInfo.hostName
        return hello
    }
}
