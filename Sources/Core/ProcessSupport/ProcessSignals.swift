internal import Dispatch
internal import Foundation

/// Turns the signals that end a process, and the death of its parent, into a callback.
public final class ProcessSignals: @unchecked Sendable {
    private var sources: [any DispatchSourceProtocol] = []

    /// Calls `onStop` with a reason on SIGTERM and SIGINT, and, if `followParent`, when the parent process is gone.
    ///
    /// A second signal ends the process at once.
    public init(followParent: Bool, onStop: @escaping @Sendable (_ reason: String) -> Void) {
        let queue = DispatchQueue(label: "signals")
        for (number, name) in [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            let count = Counter()
            source.setEventHandler {
                count.value += 1
                if count.value > 1 { exit(128 + number) }
                onStop(name)
            }
            source.resume()
            sources.append(source)
        }
        signal(SIGPIPE, SIG_IGN)
        if followParent {
            let parent = getppid()
            let timer = DispatchSource.makeTimerSource(queue: queue)
            timer.schedule(deadline: .now() + 0.5, repeating: 0.5)
            timer.setEventHandler {
                guard getppid() != parent else { return }
                onStop("the parent process is gone")
                // Nobody is left to wait for an orderly end.
                queue.asyncAfter(deadline: .now() + 2) { exit(0) }
            }
            timer.resume()
            sources.append(timer)
        }
    }

    /// Used on the signal queue only.
    private final class Counter: @unchecked Sendable { var value = 0 }
}
