import ClusterConsole
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct TerminalKeyTests {
    private func keys(_ text: String) -> [TerminalKey] { TerminalKey.keys(in: text.utf8) }

    @Test func keysAreRead() {
        #expect(keys("q") == [.character("q")])
        #expect(keys("\u{1B}[A\u{1B}OB") == [.up, .down])
        #expect(keys("\u{1B}[5~s\u{1B}[6~") == [.pageUp, .character("s"), .pageDown])
        #expect(keys("\u{1B}[H\u{1B}[4~") == [.home, .end])
        #expect(keys("\u{1B}") == [.escape])
    }

    @Test func whatIsNotKnownIsLeftOut() {
        #expect(keys("\u{1B}[1;5Dq") == [.character("q")])
        #expect(keys("ä") == [])
        #expect(keys("\u{1B}[") == [])
        #expect(keys("") == [])
    }

    @Test func anythingCanBeSent() {
        for first in UInt8.min ... .max {
            for second in stride(from: UInt8.min, to: .max, by: 5) {
                #expect(TerminalKey.keys(in: [0x1B, first, second]).count <= 3)
            }
        }
    }
}
