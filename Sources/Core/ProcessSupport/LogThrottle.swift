/// Lets some lines of a kind into the log, and counts the rest: others must not be able to fill a disk.
public struct LogThrottle: Sendable {
    private let limit: Int
    private let interval: Duration
    private var since = ContinuousClock.now
    private var count = 0
    private var untold = 0

    /// At most `limit` lines per `interval`.
    public init(limit: Int = 20, per interval: Duration = .seconds(10)) {
        self.limit = limit
        self.interval = interval
    }

    /// What to add to a line that may be logged, nil if it may not: empty, or how many were left out before it.
    public mutating func next(at now: ContinuousClock.Instant = .now) -> String? {
        if now - since >= interval {
            since = now
            count = 0
        }
        guard count < limit else {
            untold += 1
            return nil
        }
        count += 1
        defer { untold = 0 }
        return untold > 0 ? " (\(untold) more like this were left out)" : ""
    }
}
