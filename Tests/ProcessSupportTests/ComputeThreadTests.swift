import Foundation
import ProcessSupport
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct ComputeThreadTests {
    private final class Payload: Sendable {}

    /// A queue that is never empty must not hold on to what is done.
    @Test func whatIsDoneIsLetGo() {
        let thread = ComputeThread(name: "test")
        defer { thread.close() }
        let (isDone, mayEnd) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        weak var released: Payload?
        do {
            let payload = Payload()
            released = payload
            thread.submit { withExtendedLifetime(payload) {} }
        }
        // What comes after it waits, and more behind that.
        thread.submit {
            isDone.signal()
            mayEnd.wait()
        }
        thread.submit {}
        isDone.wait()
        #expect(released == nil)
        mayEnd.signal()
    }

    @Test func everythingIsDoneInOrder() {
        let thread = ComputeThread(name: "test")
        defer { thread.close() }
        let done = DispatchSemaphore(value: 0)
        nonisolated(unsafe) var seen: [Int] = []
        for number in 0..<2000 { thread.submit { seen.append(number) } }
        thread.submit { done.signal() }
        done.wait()
        #expect(seen == Array(0..<2000))
    }
}
