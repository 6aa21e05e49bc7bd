internal import CKernels
public import Foundation

/// What a process asks of the system when it starts.
public enum ProcessLimits {
    /// Once, before there are other threads: as many descriptors as the system allows, memory that can be given back after a burst, and
    /// crashes left to the system.
    ///
    /// Swift's runtime starts a program of its own when a process crashes, which outlives it, with its memory and its open files, and which
    /// nobody waits for. Whoever wants it says so: `SWIFT_BACKTRACE=enable=yes`.
    public static func prepare() {
        _ = pfc_raise_descriptor_limit()
        pfc_use_one_arena()
        guard ProcessInfo.processInfo.environment["SWIFT_BACKTRACE"] == nil else { return }
        for number in [SIGQUIT, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP] { signal(number, SIG_DFL) }
    }
}

extension FileHandle {
    /// The handle, whose descriptor no program gets that this process may start.
    public var closedOnExecute: FileHandle {
        _ = fcntl(fileDescriptor, F_SETFD, FD_CLOEXEC)
        return self
    }
}
