import ClusterConsole
import OperatorStatus
import TestSupport
import Testing

/// A reader of a log that grows, is cut at its beginning, loses its end, or is another one.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct EventCursorTests {
    /// What a coordinator keeps, and what a reader has seen of it.
    private struct Log {
        var kept: [ClusterEvent] = []
        var cursor = EventCursor()
        var seen: [String] = []
        var missed = 0
        var clock = 0.0

        mutating func append(_ text: String, id: Int? = nil) {
            clock += 1
            kept.append(ClusterEvent(id: id ?? (kept.last?.id ?? 0) + 1, time: clock, level: "info", text: text))
        }

        mutating func read(chunk: Int = 1000) {
            while true {
                let from = cursor.from
                switch cursor.take(Array(kept.filter { ($0.id ?? 0) >= from }.prefix(chunk))) {
                case .new(let events, let lost):
                    seen += events.map(\.text)
                    missed += lost
                    if cursor.from == from { return }
                case .otherLog:
                    seen += cursor.lookBack(kept).map(\.text)
                    return
                }
            }
        }
    }

    private var log = Log()

    @Test mutating func everyEventIsSeenOnce() {
        log.read()
        for count in 0..<20 {
            for index in 0..<count { log.append("\(count).\(index)") }
            log.read(chunk: 7)
            log.read(chunk: 7)
        }
        #expect(log.seen == log.kept.map(\.text) && log.missed == 0)
    }

    @Test mutating func whatWasDroppedIsCounted() {
        for index in 0..<5 { log.append("\(index)") }
        log.read()
        for index in 5..<20 { log.append("\(index)") }
        log.kept.removeFirst(12)
        log.read()
        #expect(log.seen == (Array(0..<5) + Array(12..<20)).map { "\($0)" })
        #expect(log.missed == 7)
    }

    @Test mutating func anEndThatThePowerTookIsNotTakenForWhatComesInItsPlace() {
        for index in 0..<10 { log.append("\(index)") }
        log.read()
        log.kept.removeLast(3)
        log.append("after the cut")
        log.read()
        for index in 0..<5 { log.append("later \(index)") }
        log.read()
        #expect(log.seen.suffix(6) == ["after the cut", "later 0", "later 1", "later 2", "later 3", "later 4"])
        #expect(log.seen.count == 16)
    }

    @Test mutating func anotherRunBeginsItsOwnLog() {
        for index in 0..<10 { log.append("\(index)") }
        log.read()
        log.kept = []
        log.read()
        #expect(log.seen.count == 10)
        for index in 0..<12 { log.append("new \(index)") }
        log.read()
        log.append("last")
        log.read()
        #expect(log.seen.count == 23 && log.seen.last == "last")
    }
}
