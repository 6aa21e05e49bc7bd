import Foundation
import ProcessSupport

/// Shows on standard error how many of so many are done: a bar on a terminal, a line every ten seconds otherwise.
struct CountProgress {
    private let total: Int
    private let noun: String
    private let begun: Int
    private let start = ContinuousClock.now
    private var shown = ContinuousClock.now - .seconds(3600)
    private let isTerminal = isatty(STDERR_FILENO) == 1

    /// - Parameter done: what was done before.
    init(total: Int, noun: String, done: Int = 0) {
        (self.total, self.noun, begun) = (total, noun, done)
    }

    mutating func update(_ done: Int) {
        let now = ContinuousClock.now
        let isLast = done >= total
        guard isLast || now - shown >= (isTerminal ? .milliseconds(200) : .seconds(10)) else { return }
        shown = now
        let seconds = (now - start) / .seconds(1)
        let rate = Double(done - begun) / max(seconds, 1e-9)
        var text = "\(done)/\(total) \(noun)"
        if done > begun {
            text += "  \(Units.fixed(rate, 0))/s  \(Units.duration(Double(total - done) / max(rate, 1e-9))) left"
        }
        if isTerminal {
            let width = 24
            let filled = min(width, done * width / max(total, 1))
            text =
                "\r[" + String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled) + "] "
                + text + "\u{1B}[K" + (isLast ? "\n" : "")
        } else {
            text += "\n"
        }
        FileHandle.standardError.write(Data(text.utf8))
    }
}
