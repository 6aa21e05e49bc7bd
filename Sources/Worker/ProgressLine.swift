import Foundation
import ProcessSupport

/// Shows a worker's progress: a bar that is redrawn on a terminal, a line every few seconds otherwise.
struct ProgressLine {
    private let totalSteps: Int
    private let batchSize: Int
    private let isTerminal = isatty(STDOUT_FILENO) == 1
    private var lastShown = ContinuousClock.now - .seconds(3600)
    /// When recent steps ended, oldest first.
    private var recent: [(step: Int, time: ContinuousClock.Instant)] = []
    private var smoothedLoss: Double?
    /// Whether the cursor is behind a line that will be redrawn.
    private var isOpen = false

    init(totalSteps: Int, batchSize: Int) {
        self.totalSteps = totalSteps
        self.batchSize = batchSize
    }

    /// Notes the end of a step and shows it if the last time is long enough ago.
    ///
    /// - Parameter loss: mean loss of this rank's samples, nil if it had none.
    mutating func update(step: Int, loss: Double?, learningRate: Float) {
        let now = ContinuousClock.now
        recent.append((step, now))
        if recent.count > 50 { recent.removeFirst() }
        if let loss { smoothedLoss = smoothedLoss.map { 0.9 * $0 + 0.1 * loss } ?? loss }
        let isLast = step + 1 == totalSteps
        guard isLast || now - lastShown >= (isTerminal ? .milliseconds(200) : .seconds(5)) else { return }
        lastShown = now
        let text = line(step: step, learningRate: learningRate)
        isOpen = isTerminal && !isLast
        print(isTerminal ? "\r\(text)\u{1B}[K" : text, terminator: isOpen ? "" : "\n")
        fflush(nil)
    }

    /// Ends a line that was being redrawn, so that other text starts on its own.
    mutating func interrupt() {
        if isOpen { print() }
        isOpen = false
    }

    private func line(step: Int, learningRate: Float) -> String {
        var parts: [String] = []
        if isTerminal {
            let width = 24
            let filled = min(width, (step + 1) * width / max(totalSteps, 1))
            parts.append(
                "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled) + "]")
        }
        parts.append("\(step + 1)/\(totalSteps) steps")
        if let smoothedLoss { parts.append("loss \(Units.fixed(smoothedLoss, 3))") }
        parts.append("lr \(Units.fixed(Double(learningRate), 4))")
        if let first = recent.first, let last = recent.last, last.step > first.step {
            let seconds = (last.time - first.time) / .seconds(1)
            let stepsPerSecond = Double(last.step - first.step) / max(seconds, 1e-9)
            parts.append("\(Units.fixed(stepsPerSecond * Double(batchSize), 0)) samples/s")
            parts.append("\(Units.duration(Double(totalSteps - 1 - step) / stepsPerSecond)) left")
        }
        return parts.joined(separator: "  ")
    }
}
