internal import Foundation
internal import Synchronization
public import Testing

/// Runs each test on a thread of its own, two for each core at a time.
///
/// Tests that wait, for processes or for peers, would sit on the threads of Swift's concurrency, of which there are as many as
/// cores. The time that a test waits for its turn is not that of its time limit, but for cases of tests with arguments.
public struct OwnThread: SuiteTrait, TestTrait, TestScoping {
    public let isRecursive = true

    public func scopeProvider(for test: Test, testCase: Test.Case?) -> Self? {
        if test.isSuite { return nil }
        return test.isParameterized == (testCase != nil) ? self : nil
    }

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        await Turns.shared.wait()
        defer { Turns.shared.end() }
        try await withTaskExecutorPreference(Threads.shared) { try await function() }
    }
}

extension Trait where Self == OwnThread {
    /// Runs each test on a thread of its own.
    public static var ownThread: Self { Self() }
}

private final class Threads: TaskExecutor {
    static let shared = Threads()

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        Thread.detachNewThread { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// So many at a time, in order of arrival.
private final class Turns: Sendable {
    private struct State {
        var free = 2 * ProcessInfo.processInfo.activeProcessorCount
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    static let shared = Turns()
    private let state = Mutex(State())

    func wait() async {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                if state.free == 0 {
                    state.waiting.append(continuation)
                    return false
                }
                state.free -= 1
                return true
            }
            if isFree { continuation.resume() }
        }
    }

    func end() {
        state.withLock { state -> CheckedContinuation<Void, Never>? in
            if state.waiting.isEmpty {
                state.free += 1
                return nil
            }
            return state.waiting.removeFirst()
        }?.resume()
    }
}
