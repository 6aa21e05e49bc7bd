import ArgumentParser
import ClusterConsole
import ClusterKeys
import Foundation
import OperatorStatus
import ProcessSupport
import Wire

/// `coordinator events`.
struct Events: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what happened: who joined and went, what was skipped, moved and written.",
        discussion: """
            With --follow it goes on until it is interrupted, waits for a coordinator that is started again, and shows every event once. \
            With --json it prints a list, or with --follow an object a line. The last 10,000 events of a run are kept.
            """)
    @Option(name: .shortAndLong, help: "How many, the last ones; by default 50, or with --since all.") var count: Int?
    @Option(
        help: ArgumentHelp(
            "Only what happened since then: 10m (s, h, d), 2026-01-31T12:00:00Z, or seconds since 1970.",
            valueName: "time"))
    var since: String?
    @Flag(name: .shortAndLong, help: "Go on, and show events as they happen.") var follow = false
    @OptionGroup var connection: Connection

    /// Events that a run keeps.
    private static let limit = 10_000
    /// Between two looks of --follow.
    private static let interval = 0.25

    func validate() throws {
        if let count, !(1...Self.limit).contains(count) {
            throw ValidationError("--count \(count) is not in 1...\(Self.limit)")
        }
        if let since, PointInTime.parse(since, now: 0) == nil {
            throw ValidationError("--since \(since) is no time: 10m, 2026-01-31T12:00:00Z or seconds since 1970")
        }
    }

    func run() throws {
        let wanted = count ?? (since == nil ? 50 : Self.limit)
        let asked = since == nil ? wanted : Self.limit
        let start = since.flatMap { PointInTime.parse($0, now: Date().timeIntervalSince1970) } ?? -.infinity
        let all = try connection.ask("events", ["count": "\(asked)"], as: [ClusterEvent].self)
        let events = Array(all.filter { $0.time >= start }.suffix(wanted))
        guard follow else {
            return connection.print(events) { events.map(Self.line).joined(separator: "\n") }
        }
        // What is not written down yet has no number, and comes again when it is.
        let written = all.filter { $0.id != nil }
        show(events.filter { $0.id != nil })
        var cursor = EventCursor()
        _ = cursor.take(written)
        try follow(cursor, connection.security())
    }

    /// Shows events as they happen, for ever.
    private func follow(_ begun: EventCursor, _ security: ClusterSecurity) throws {
        var cursor = begun
        var client: OperatorClient?
        var isComplaining = false
        while true {
            do {
                let open = try client ?? connection.open(security)
                client = open
                try look(&cursor, open)
                if isComplaining { connection.complain("\(connection.coordinator) answers again") }
                isComplaining = false
            } catch let error as WireError where error.code == .forbidden {
                // A key that was revoked is not taken again by waiting.
                throw connection.failure(error)
            } catch {
                client?.close()
                client = nil
                if !isComplaining { connection.complain("\(error); waiting for it") }
                isComplaining = true
            }
            Thread.sleep(forTimeInterval: Self.interval)
        }
    }

    private func look(_ cursor: inout EventCursor, _ client: OperatorClient) throws {
        while true {
            let from = cursor.from
            let answer = try connection.exchange("events", ["from": "\(from)"], as: [ClusterEvent].self, with: client)
            switch cursor.take(answer) {
            case .new(let events, let missed):
                if missed > 0 { connection.complain("\(missed) events were dropped before they could be shown") }
                show(events)
                // There may be more than one answer has.
                if cursor.from == from { return }
            case .otherLog:
                let all = try connection.exchange(
                    "events", ["count": "\(Self.limit)"], as: [ClusterEvent].self, with: client)
                show(cursor.lookBack(all.filter { $0.id != nil }))
                return
            }
        }
    }

    private func show(_ events: [ClusterEvent]) {
        for event in events {
            if connection.json {
                if let line = try? StatusJSON.encode(event) { print(String(decoding: line, as: UTF8.self)) }
            } else {
                print(Self.line(event))
            }
        }
        fflush(nil)
    }

    private static func line(_ event: ClusterEvent) -> String {
        let time = ISO8601DateFormatter().string(from: Date(timeIntervalSince1970: event.time))
        return "\(time)  \(event.level)  \(event.text)".printable
    }
}
