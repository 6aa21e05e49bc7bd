import Foundation
import ProcessSupport
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct PrintableTests {
    @Test func whatATerminalWouldObeyIsWrittenOut() {
        #expect("shard-0 at größe 中 ✓".printable == "shard-0 at größe 中 ✓")
        #expect("a\u{1B}[2Jb\tc\r\nd".printable == "a\\u{1B}[2Jb\\tc\\r\\nd")
        #expect(
            "\u{9B}31m \u{7F} \u{202E}x\u{200B} \u{2028}".printable
                == "\\u{9B}31m \\u{7F} \\u{202E}x\\u{200B} \\u{2028}")
        #expect("two\nlines\u{7}".printableLines == "two\n    lines\\u{7}")
    }

    @Test func cellsOfTablesAreOneLine() {
        var table = TextTable(["name", "host"])
        table.add(["a\nb", "\u{1B}]0;x\u{7}"])
        #expect(table.render() == "name  host\na\\nb  \\u{1B}]0;x\\u{7}")
    }

    @Test func linesOfAKindAreCounted() {
        let start = ContinuousClock.now
        var throttle = LogThrottle(limit: 2, per: .seconds(10))
        #expect((0..<5).map { _ in throttle.next(at: start) } == ["", "", nil, nil, nil])
        #expect(throttle.next(at: start + .seconds(11)) == " (3 more like this were left out)")
    }

    /// Work that can wait has its turn when nothing else has, and after a while all the same.
    @Test func patientWorkWaits() {
        let thread = ComputeThread(name: "test")
        defer { thread.close() }
        let order = Order()
        thread.submit { order.started.wait() }
        let counter = Order()
        thread.submitInPieces {
            order.note("piece")
            counter.note("")
            return counter.count < 3
        }
        for _ in 0..<70 { thread.submit { order.note("step") } }
        thread.submitInPieces {
            guard counter.count >= 3 else { return true }
            order.ended.signal()
            return false
        }
        order.started.signal()
        order.ended.wait()
        let pieces = order.notes.prefix(60).filter { $0 == "piece" }.count
        #expect(pieces == 0 && order.notes.contains("piece"))
        #expect(order.notes.firstIndex(of: "piece").map { $0 <= 66 } == true)
    }
}

private final class Order: @unchecked Sendable {
    private let lock = NSLock()
    private var stored: [String] = []
    let started = DispatchSemaphore(value: 0)
    let ended = DispatchSemaphore(value: 0)

    func note(_ text: String) { lock.withLock { stored.append(text) } }
    var notes: [String] { lock.withLock { stored } }
    var count: Int { notes.count }
}
