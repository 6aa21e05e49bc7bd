internal import Glibc

/// Signals as bytes in a pipe, so that a loop hears of them where it waits for keys.
final class TerminalSignals {
    /// Ends of the program, and a new size.
    static let ends = [SIGINT, SIGTERM, SIGHUP]
    let readEnd: Int32
    private let writeEnd: Int32

    /// Written before any handler is there, read by the handlers.
    nonisolated(unsafe) private static var target: Int32 = -1

    /// - Returns: nil if there can be no pipe.
    init?() {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return nil }
        // A handler must never wait for the loop that it wants to wake.
        for end in ends { _ = fcntl(end, F_SETFL, O_NONBLOCK) }
        (readEnd, writeEnd) = (ends[0], ends[1])
        Self.target = writeEnd
        var taken = sigset_t()
        sigemptyset(&taken)
        for number in Self.ends + [SIGWINCH] {
            sigaddset(&taken, number)
            signal(number) { number in
                var byte = UInt8(truncatingIfNeeded: number)
                _ = write(TerminalSignals.target, &byte, 1)
            }
        }
        // Whoever started this process may have left them blocked.
        pthread_sigmask(SIG_UNBLOCK, &taken, nil)
    }

    /// Makes the loop turn, from any thread.
    func wake() {
        var byte: UInt8 = 0
        _ = write(writeEnd, &byte, 1)
    }

    /// The signals that have come; 0 for a call of `wake`.
    func take() -> [Int32] {
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = read(readEnd, &bytes, bytes.count)
        return bytes.prefix(max(0, count)).map(Int32.init)
    }

    /// Ends this process as the signal would have done.
    static func obey(_ number: Int32) -> Never {
        signal(number, SIG_DFL)
        kill(getpid(), number)
        // Another thread may be the one that gets it.
        while true { pause() }
    }
}
