import ClusterConsole
import ClusterKeys
import Foundation
import OperatorStatus
import ProcessSupport
import Wire

extension TopView {
    /// Points of the curve: as many as the widest screen has columns for.
    private static let points = 240
    private static let eventCount = 100

    /// Asks the coordinator for all that is shown.
    ///
    /// - Throws: what `Connection.exchange` throws.
    init(_ connection: Connection, _ client: OperatorClient) throws {
        self.init(
            status: try connection.exchange("status", as: ClusterStatus.self, with: client),
            history: try connection.exchange(
                "history", ["points": "\(Self.points)"], as: RunHistory.self, with: client),
            events: try connection.exchange(
                "events", ["count": "\(Self.eventCount)"], as: [ClusterEvent].self, with: client))
    }
}

/// Asks the coordinator again and again on a thread of its own, so that keys are answered while it does not answer.
final class TopPoller: @unchecked Sendable {
    private let connection: Connection
    private let security: ClusterSecurity
    private let interval: Double
    private let wake: @Sendable () -> Void
    private let condition = MonotonicCondition()
    private var view: TopView?
    private var problem: String?
    private var orders: [String] = []
    private var isClosed = false
    /// On the poller's thread.
    private var client: OperatorClient?

    /// - Parameter wake: called when there is something new to show.
    init(
        _ connection: Connection, _ security: ClusterSecurity, _ client: OperatorClient, interval: Double,
        wake: @escaping @Sendable () -> Void
    ) {
        self.connection = connection
        self.security = security
        self.client = client
        self.interval = interval
        self.wake = wake
        let thread = Thread { [self] in run() }
        thread.name = "poller"
        thread.start()
    }

    /// What was seen last, and why nothing newer is, if so.
    var latest: (view: TopView?, problem: String?) { condition.withLock { (view, problem) } }

    /// Gives the coordinator an order without arguments.
    func order(_ command: String) {
        condition.withLock {
            orders.append(command)
            condition.signal()
        }
    }

    /// Ends the thread, sooner or later.
    func close() {
        condition.withLock {
            isClosed = true
            condition.signal()
        }
    }

    private func run() {
        while let commands = next() {
            do {
                let open = try client ?? connection.open(security)
                client = open
                var refusal: String?
                for command in commands {
                    do {
                        _ = try connection.exchange(command, as: ClusterStatus.self, with: open)
                    } catch let error as OperatorRefusal {
                        refusal = "\(command): \(error)"
                    } catch let error as WireError where error.code == .forbidden {
                        refusal = "\(command): \(error.message)"
                    }
                }
                let seen = try TopView(connection, open)
                condition.withLock { (view, problem) = (seen, refusal) }
            } catch {
                client?.close()
                client = nil
                condition.withLock { problem = "\(error); trying again" }
            }
            wake()
        }
        client?.close()
    }

    /// Waits until it is time to look again, or there is an order; nil when it is over.
    private func next() -> [String]? {
        condition.withLock {
            let end = ContinuousClock.now + .seconds(view == nil && problem == nil ? 0 : interval)
            while orders.isEmpty && !isClosed && ContinuousClock.now < end { _ = condition.wait(until: end) }
            defer { orders = [] }
            return isClosed ? nil : orders
        }
    }
}
