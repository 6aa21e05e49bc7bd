public import Cluster
internal import Foundation
public import Wire

extension Hello {
    /// What this process says of itself, under a new incarnation.
    ///
    /// - Parameter kernels: which ones its libraries chose for this processor, for instance `openblas SkylakeX, onednn avx512`.
    public static func thisProcess(role: MemberRole, name: String, threads: Int, kernels: String) -> Hello {
        var hello = Hello(role: role, incarnation: .random(in: 1 ... .max))
        hello.name = name
        hello.threads = threads
        hello.instructionSet = kernels
        hello.processID = Int(ProcessInfo.processInfo.processIdentifier)
        hello.host = ProcessInfo.processInfo.hostName
        return hello
    }
}
