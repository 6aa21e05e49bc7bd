internal import Foundation
internal import OperatorStatus
internal import ProcessSupport

/// Draws a `TopView`: a function of the view and the size of the screen, and of nothing else.
public enum TopFrame {
    /// At most `size.rows` lines of at most `size.columns` columns each.
    ///
    /// - Parameter coloured: whether lines have ANSI colours.
    public static func lines(_ view: TopView, size: ScreenSize, coloured: Bool) -> [String] {
        let head = TopHeader.lines(view, columns: size.columns)
        let foot = [footer(view)]
        let room = size.rows - head.count - foot.count
        var lines = head
        // On a screen without room for more, what the run does comes first.
        if room > 0 {
            let body = TopMembers.lines(view, columns: size.columns) + events(view)
            lines += body.dropFirst(clamped(view.scroll, body.count, room)).prefix(room)
            while lines.count < head.count + room { lines.append(ConsoleLine()) }
            lines += foot
        }
        return lines.prefix(size.rows).map { $0.text(columns: size.columns, coloured: coloured) }
    }

    /// How far the view can be scrolled on a screen of this size.
    public static func largestScroll(_ view: TopView, size: ScreenSize) -> Int {
        let head = TopHeader.lines(view, columns: size.columns).count
        let body = TopMembers.lines(view, columns: size.columns).count + events(view).count
        return max(0, body - max(0, size.rows - head - 1))
    }

    private static func clamped(_ scroll: Int, _ count: Int, _ room: Int) -> Int {
        max(0, min(scroll, count - room))
    }

    private static func footer(_ view: TopView) -> ConsoleLine {
        if let notice = view.notice { return ConsoleLine(notice, .inverse) }
        let order = "sort (\(view.order.rawValue))"
        let keys = [
            ("q", "quit"), ("p", view.status.state == "paused" ? "resume" : "pause"), ("s", order), ("↑↓", "scroll"),
        ]
        var line = ConsoleLine()
        for (key, what) in keys {
            line.add(key, .bold)
            line.add(" \(what)   ", .faint)
        }
        return line
    }

    private static func events(_ view: TopView) -> [ConsoleLine] {
        if view.events.isEmpty { return [] }
        // The newest first: they are what is seen without scrolling.
        return [ConsoleLine(), ConsoleLine("EVENTS", .accent)]
            + view.events.reversed().map { event in
                var line = ConsoleLine(clock(event.time) + "  ", .faint)
                line.add(event.text, event.level == "error" ? .bad : event.level == "warning" ? .warning : .plain)
                return line
            }
    }

    /// Hours, minutes and seconds in the time zone of this machine.
    private static func clock(_ time: Double) -> String {
        // A time that a damaged clock made must not end the program.
        guard time.isFinite, abs(time) < 1e12 else { return "--:--:--" }
        var seconds = time_t(time)
        var parts = tm()
        localtime_r(&seconds, &parts)
        return String(format: "%02d:%02d:%02d", parts.tm_hour, parts.tm_min, parts.tm_sec)
    }
}
