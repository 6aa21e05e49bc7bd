import ClusterConsole
import Foundation
import OperatorStatus

/// `coordinator top` on a terminal: keys, and what they do.
struct TopSession {
    let screen: TerminalScreen
    let poller: TopPoller
    let isColoured: Bool
    private var order = TopView.Order.name
    private var scroll = 0
    /// The order that waits for a yes.
    private var question: String?

    init(screen: TerminalScreen, poller: TopPoller, isColoured: Bool) {
        self.screen = screen
        self.poller = poller
        self.isColoured = isColoured
    }

    /// Draws and takes keys until it is told to end.
    mutating func run() {
        while true {
            draw()
            for event in screen.wait() {
                switch event {
                case .key(let key): if press(key) { return }
                case .resized, .woken: break
                case .ended(let signal): screen.end(with: signal)
                case .closed: return
                }
            }
        }
    }

    private var size: ScreenSize { TerminalScreen.size ?? ScreenSize(columns: 80, rows: 24) }

    private var view: TopView? {
        let (latest, problem) = poller.latest
        guard var view = latest else { return nil }
        view.order = order
        view.scroll = scroll
        view.notice = question.map { "\($0) the run? y: yes, any other key: no" } ?? problem
        return view
    }

    private func draw() {
        guard let view else {
            return screen.draw(
                [poller.latest.problem ?? "asking the coordinator"].map { String($0.prefix(size.columns)) })
        }
        screen.draw(TopFrame.lines(view, size: size, coloured: isColoured))
    }

    /// - Returns: whether it is over.
    private mutating func press(_ key: TerminalKey) -> Bool {
        if let asked = question {
            question = nil
            if key == .character("y") || key == .character("Y") { poller.order(asked) }
            return false
        }
        let page = max(1, size.rows / 2)
        switch key {
        case .character("q"), .character("Q"): return true
        case .character("p"): question = view?.status.state == "paused" ? "resume" : "pause"
        case .character("s"): order = order.next
        case .up, .character("k"): scroll -= 1
        case .down, .character("j"): scroll += 1
        case .pageUp: scroll -= page
        case .pageDown: scroll += page
        case .home: scroll = 0
        case .end: scroll = .max / 2
        default: break
        }
        scroll = max(0, min(scroll, view.map { TopFrame.largestScroll($0, size: size) } ?? 0))
        return false
    }
}
