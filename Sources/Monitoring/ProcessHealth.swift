internal import Foundation

/// Whether a process is alive and can do its work: what `/healthz` and `/readyz` say.
///
/// The process's loop reports every turn; the HTTP thread only looks. Safe from any thread.
public final class ProcessHealth: @unchecked Sendable {
    private let lock = NSLock()
    private var lastTurn = ContinuousClock.now
    private var obstacle: String? = "starting"
    private var isHeld = false

    /// How old the loop's last turn may be: it makes at least one a second.
    public static let turnLimit = Duration.seconds(10)

    public init() {}

    /// The loop has made a turn.
    ///
    /// - Parameter obstacle: what the process waits for before it can do its work, nil if it can.
    public func turn(obstacle: String?) {
        lock.withLock {
            lastTurn = .now
            isHeld = false
            self.obstacle = obstacle
        }
    }

    /// The loop will be busy for as long as it takes, with something that is known to take long: until its next turn it
    /// counts as alive, and as not ready.
    public func hold(_ reason: String) {
        lock.withLock {
            isHeld = true
            obstacle = reason
        }
    }

    /// Seconds since the loop's last turn.
    public var turnAge: Double { (ContinuousClock.now - lock.withLock { lastTurn }) / .seconds(1) }

    /// Whether the process can do its work.
    public var isReady: Bool { lock.withLock { obstacle == nil } && isAlive }

    /// Whether the loop turns.
    public var isAlive: Bool { lock.withLock { isHeld || ContinuousClock.now - lastTurn < Self.turnLimit } }

    /// The answer to `/healthz`: 200 while the loop turns, 503 if it is stuck.
    public var healthResponse: HTTPResponse {
        let age = String(format: "%.1f", turnAge)
        return isAlive
            ? .text("ok\n") : .text("stuck: the loop's last turn was \(age) s ago\n", .serviceUnavailable)
    }

    /// The answer to `/readyz`: 200 when the process can do its work, else 503 and what it waits for.
    public var readyResponse: HTTPResponse {
        guard isAlive else { return healthResponse }
        guard let reason = lock.withLock({ obstacle }) else { return .text("ready\n") }
        return .text("not ready: \(reason)\n", .serviceUnavailable)
    }
}
