internal import GRDB

extension CoordinatorDatabase {
    /// A line of the operator's log.
    public struct Event: Sendable, Hashable {
        /// Ascending, and given when it is written; nil before that.
        public internal(set) var id: Int?
        /// Seconds since 1970.
        public var time: Double
        /// `info`, `warning` or `error`.
        public var level: String
        public var text: String

        public init(time: Double, level: String, text: String) {
            self.time = time
            self.level = level
            self.text = text
        }
    }

    /// Appends events, and drops the oldest above `eventLimit`. Not synced.
    public func append(_ events: [Event]) throws(CoordinatorStoreError) {
        try transaction(durable: false) { db in
            for event in events {
                try db.execute(
                    sql: "INSERT INTO event (time, level, text) VALUES (?, ?, ?)",
                    arguments: [event.time, event.level, event.text])
            }
            try db.execute(
                sql: "DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", arguments: [Self.eventLimit])
        }
    }

    /// The last `count` events, oldest first.
    public func events(last count: Int) throws(CoordinatorStoreError) -> [Event] {
        do {
            return try queue.read { db in
                try Row.fetchAll(db, sql: "SELECT * FROM event ORDER BY id DESC LIMIT ?", arguments: [count])
                    .reversed()
                    .map(Self.event)
            }
        } catch { throw Self.storeError(error, path) }
    }

    /// The first `count` events that are kept of those numbered `id` and above, oldest first.
    public func events(from id: Int, count: Int) throws(CoordinatorStoreError) -> [Event] {
        do {
            return try queue.read { db in
                try Row.fetchAll(
                    db, sql: "SELECT * FROM event WHERE id >= ? ORDER BY id LIMIT ?", arguments: [id, count]
                ).map(Self.event)
            }
        } catch { throw Self.storeError(error, path) }
    }

    private static func event(_ row: Row) -> Event {
        var event = Event(time: row["time"], level: row["level"], text: row["text"])
        event.id = row["id"]
        return event
    }
}
