public import OperatorStatus

/// What `coordinator top` shows, apart from how.
public struct TopView: Sendable {
    /// What members are sorted by.
    public enum Order: String, Sendable, CaseIterable {
        /// By number.
        case name
        /// The slowest first, or of shards those that are furthest behind.
        case time
        /// Those with the most memory first.
        case memory

        public var next: Order {
            let all = Self.allCases
            return all[((all.firstIndex(of: self) ?? 0) + 1) % all.count]
        }
    }

    public var status: ClusterStatus
    /// The run step by step; nil if it is not known.
    public var history: RunHistory?
    /// Oldest first.
    public var events: [ClusterEvent]
    public var order = Order.name
    /// Lines of members and events that are scrolled away.
    public var scroll = 0
    /// A question or a message at the bottom; nil for the list of keys.
    public var notice: String?

    public init(status: ClusterStatus, history: RunHistory? = nil, events: [ClusterEvent] = []) {
        self.status = status
        self.history = history
        self.events = events
    }

    /// The mean of a figure over the last points of the history.
    func recent(_ figures: KeyPath<RunHistory, [Float?]>) -> Double? {
        let known = (history?[keyPath: figures].suffix(20) ?? []).compactMap { $0 }.filter(\.isFinite)
        return known.isEmpty ? nil : known.reduce(0) { $0 + Double($1) } / Double(known.count)
    }
}
