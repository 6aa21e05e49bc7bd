internal import Glibc

/// The whole screen of the terminal that this process runs in, until it is given back.
///
/// Uses ANSI sequences that every terminal of the last decades knows. Use from one thread, but for `wake`.
public final class TerminalScreen {
    /// What the screen has to say.
    public enum Event: Sendable {
        case key(TerminalKey)
        /// The size has changed.
        case resized
        /// Someone called `wake`.
        case woken
        /// The process was told to end by this signal.
        case ended(Int32)
        /// The terminal is gone.
        case closed
    }

    private let signals: TerminalSignals
    private let before: termios
    private var isOpen = true

    /// Whether standard input and output are a terminal.
    public static var isPossible: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 }

    /// Takes the screen: keys come one by one and are not shown.
    ///
    /// - Returns: nil if there is no terminal.
    public init?() {
        guard Self.isPossible, let signals = TerminalSignals() else { return nil }
        var settings = termios()
        guard tcgetattr(STDIN_FILENO, &settings) == 0 else { return nil }
        before = settings
        self.signals = signals
        settings.c_lflag &= ~tcflag_t(ICANON | ECHO)
        // Suspending would leave the screen as it is: it is switched off. Interrupting is not: signals give the screen back.
        settings.c_cc.10 = 0  // VSUSP
        settings.c_cc.6 = 1  // VMIN
        settings.c_cc.5 = 0  // VTIME
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
        // The other screen, no cursor, no new line by itself at the right edge.
        put("\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l\u{1B}[2J")
    }

    deinit { close() }

    /// Gives the screen back as it was; nothing the second time.
    public func close() {
        guard isOpen else { return }
        isOpen = false
        put("\u{1B}[0m\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l")
        var settings = before
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
    }

    /// Columns and rows now.
    public static var size: ScreenSize? {
        var window = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &window) == 0, window.ws_col > 0, window.ws_row > 0 else {
            return nil
        }
        return ScreenSize(columns: Int(window.ws_col), rows: Int(window.ws_row))
    }

    /// Shows lines, the first at the top. Each must fit.
    public func draw(_ lines: [String]) {
        put("\u{1B}[H" + lines.map { $0 + "\u{1B}[K" }.joined(separator: "\r\n") + "\u{1B}[J")
    }

    /// Makes `wait` return. From any thread.
    public var wake: @Sendable () -> Void {
        // The pipe stays open as long as the process.
        nonisolated(unsafe) let signals = signals
        return { signals.wake() }
    }

    /// Waits for keys, signals or `wake`.
    public func wait() -> [Event] {
        var descriptors = [
            pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0),
            pollfd(fd: signals.readEnd, events: Int16(POLLIN), revents: 0),
        ]
        guard poll(&descriptors, 2, -1) > 0 else { return [] }
        var events: [Event] = []
        if descriptors[1].revents != 0 {
            for number in signals.take() {
                switch number {
                case 0: events.append(.woken)
                case SIGWINCH: events.append(.resized)
                default: events.append(.ended(number))
                }
            }
        }
        if descriptors[0].revents != 0 {
            var bytes = [UInt8](repeating: 0, count: 256)
            let count = read(STDIN_FILENO, &bytes, bytes.count)
            if count <= 0 { return events + [.closed] }
            events += TerminalKey.keys(in: bytes.prefix(count)).map(Event.key)
        }
        return events
    }

    /// Gives the screen back and ends this process as the signal would have done.
    public func end(with signal: Int32) -> Never {
        close()
        TerminalSignals.obey(signal)
    }

    private func put(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR {
                return  // The terminal is gone: the next wait says so.
            }
        }
    }
}
