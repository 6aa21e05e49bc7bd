import ClusterHarness
import Foundation

/// A program on a terminal of its own, and what the terminal would show.
final class PseudoTerminal: @unchecked Sendable {
    private let process = Process()
    private let master: Int32
    private let slave: Int32
    private let lock = NSLock()
    private let isReadToItsEnd = DispatchSemaphore(value: 0)
    /// TIOCSPTLCK and TIOCGPTN.
    private static let (setLock, getNumber): (UInt, UInt) = (0x4004_5431, 0x8004_5430)
    /// Everything that came, in the lock.
    private var bytes: [UInt8] = []
    /// Settings of the terminal before the program started.
    let before: termios

    init(_ program: String, _ arguments: [String], columns: Int, rows: Int, environment: [String: String] = [:]) throws
    {
        // What posix_openpt, unlockpt and ptsname do, which Swift does not see.
        master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var (isLocked, number): (Int32, Int32) = (0, 0)
        guard master >= 0, ioctl(master, Self.setLock, &isLocked) == 0, ioctl(master, Self.getNumber, &number) == 0
        else { throw HarnessError("there is no pseudo terminal: \(String(cString: strerror(errno)))") }
        slave = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY | O_CLOEXEC)
        guard slave >= 0 else { throw HarnessError("/dev/pts/\(number) cannot be opened") }
        var settings = termios()
        tcgetattr(slave, &settings)
        before = settings
        resize(columns: columns, rows: rows)
        process.executableURL = LocalCluster.builtBinaries.appending(path: program)
        process.arguments = arguments
        let terminal = FileHandle(fileDescriptor: slave)
        (process.standardInput, process.standardOutput, process.standardError) = (terminal, terminal, terminal)
        var all = ProcessInfo.processInfo.environment.merging(["TERM": "xterm-256color"]) { $1 }
        all["NO_COLOR"] = nil
        process.environment = all.merging(environment) { $1 }
        try process.run()
        let thread = Thread { [self] in read() }
        thread.start()
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Foundation.read(master, &buffer, buffer.count)
            // Nobody has the other end open any more.
            if count <= 0 {
                isReadToItsEnd.signal()
                return
            }
            lock.withLock { bytes += buffer.prefix(count) }
        }
    }

    func resize(columns: Int, rows: Int) {
        var size = winsize()
        size.ws_col = UInt16(columns)
        size.ws_row = UInt16(rows)
        _ = ioctl(master, UInt(TIOCSWINSZ), &size)
        // It is not the terminal's foreground job, which would be told.
        if process.isRunning { kill(process.processIdentifier, SIGWINCH) }
    }

    func type(_ text: String) {
        var all = Array(text.utf8)
        _ = write(master, &all, all.count)
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    var output: String { lock.withLock { String(decoding: bytes, as: UTF8.self) } }

    /// The lines of the last whole frame, without colours.
    var frame: [String] {
        let frames = output.components(separatedBy: "\u{1B}[H").dropFirst()
        guard let last = frames.last(where: { $0.contains("\u{1B}[J") }) else { return [] }
        let shown = last.components(separatedBy: "\u{1B}[J")[0]
        return shown.components(separatedBy: "\r\n").map { line in
            // The terminal itself puts a carriage return before every new line.
            line.replacing(#/\u{1B}\[[0-9;?]*[A-Za-z]/#, with: "").replacing("\r", with: "")
        }
    }

    /// Waits until a frame fulfils `condition`.
    func wait(for what: String, seconds: Double = 60, _ condition: ([String]) -> Bool) throws {
        let end = Date(timeIntervalSinceNow: seconds)
        while !condition(frame) {
            if Date() > end {
                throw HarnessError(
                    "after \(seconds) s the terminal does not show \(what):\n\(frame.joined(separator: "\n"))")
            }
            Thread.sleep(forTimeInterval: 0.02)
        }
    }

    /// Waits until the program has ended.
    ///
    /// - Returns: its exit code, or minus the signal that ended it.
    func end(seconds: Double = 60) throws -> Int32 {
        let end = Date(timeIntervalSinceNow: seconds)
        while process.isRunning {
            if Date() > end { throw HarnessError("it has not ended after \(seconds) s") }
            Thread.sleep(forTimeInterval: 0.02)
        }
        process.waitUntilExit()
        // What it wrote last has to come through the terminal.
        let rest = Date(timeIntervalSinceNow: 10)
        while !output.contains("\u{1B}[?1049l") && Date() < rest { Thread.sleep(forTimeInterval: 0.02) }
        return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }

    /// Whether lines are edited and keys shown, as before the program started.
    var isRestored: Bool {
        var settings = termios()
        tcgetattr(slave, &settings)
        return settings.c_lflag == before.c_lflag && settings.c_iflag == before.c_iflag
            && settings.c_oflag == before.c_oflag
    }

    /// Ends the program if it still runs, and gives the terminal back.
    func close() {
        if process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        Foundation.close(slave)
        // The number must not be given to another file while the thread may still read.
        isReadToItsEnd.wait()
        Foundation.close(master)
    }
}
