internal import Foundation

/// How many answers an HTTP server has given, by status. Safe from any thread.
public final class HTTPCounters: @unchecked Sendable {
    private let lock = NSLock()
    private var counts: [Int: Int] = [:]

    public init() {}

    /// Answers by status code.
    public var values: [Int: Int] { lock.withLock { counts } }

    func note(_ status: HTTPStatus) { lock.withLock { counts[status.rawValue, default: 0] += 1 } }
}
