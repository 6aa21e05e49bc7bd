internal import Foundation

/// A point in time as an operator writes it.
public enum PointInTime {
    private static let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]

    /// Reads `90s`, `10m`, `2h` or `1d` before `now`; ISO 8601 as `2026-01-31T12:00:00Z`, or `2026-01-31` for midnight in UTC; or
    /// seconds since 1970.
    ///
    /// - Parameter now: seconds since 1970.
    /// - Returns: seconds since 1970, nil if it is none of these.
    public static func parse(_ text: String, now: Double) -> Double? {
        if let last = text.last, let unit = units[last], let count = Double(text.dropLast()), count.isFinite, count >= 0
        {
            return now - count * unit
        }
        if let seconds = Double(text), seconds.isFinite { return seconds }
        for options: ISO8601DateFormatter.Options in [
            .withInternetDateTime, [.withInternetDateTime, .withFractionalSeconds], .withFullDate,
        ] {
            let format = ISO8601DateFormatter()
            format.formatOptions = options
            if let date = format.date(from: text) { return date.timeIntervalSince1970 }
        }
        return nil
    }
}
