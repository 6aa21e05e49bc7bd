internal import Foundation

/// Numbers as people read them.
public enum Units {
    /// `1.5 GiB`, `312 MiB`, `17 KiB`.
    public static func bytes(_ count: Int) -> String {
        switch count {
        case (1 << 30)...: String(format: "%.1f GiB", Double(count) / Double(1 << 30))
        case (1 << 20)...: String(format: "%.0f MiB", Double(count) / Double(1 << 20))
        default: String(format: "%.0f KiB", Double(count) / 1024)
        }
    }

    /// `2 h 05 min`, `3 min 07 s`, `12 s`.
    public static func duration(_ seconds: Double) -> String {
        guard seconds >= 0, seconds < 1e12 else { return "–" }
        let whole = Int(seconds.rounded())
        if whole >= 3600 { return String(format: "%d h %02d min", whole / 3600, whole / 60 % 60) }
        if whole >= 60 { return String(format: "%d min %02d s", whole / 60, whole % 60) }
        return "\(whole) s"
    }

    /// `1 worker`, `2 workers`.
    public static func count(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

    /// `value` with `digits` decimals.
    public static func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
}
