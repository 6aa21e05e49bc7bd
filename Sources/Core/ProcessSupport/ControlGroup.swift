internal import Foundation

/// What the control group of this process, in which containers run, bounds.
package enum ControlGroup {
    /// Cores' worth of time that the process gets; nil if it is not bounded.
    static var processorQuota: Double? {
        let groups = (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8)) ?? ""
        return processorQuota(groups: groups) { try? String(contentsOfFile: $0, encoding: .utf8) }
    }

    /// - Parameters:
    ///   - groups: `/proc/self/cgroup`.
    ///   - read: the text of a file, nil if there is none.
    package static func processorQuota(groups: String, read: (String) -> String?) -> Double? {
        var least: Double?
        for line in groups.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let isUnified = fields[1].isEmpty
            guard isUnified || fields[1].split(separator: ",").contains("cpu") else { continue }
            // Every group above bounds it too. Inside a container the path is often one of the host, and only the root is there.
            var path = String(fields[2])
            while true {
                let quota = isUnified ? unified(path, read) : legacy(path, read)
                if let quota { least = min(least ?? quota, quota) }
                if path.isEmpty || path == "/" { break }
                path = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
            }
        }
        return least
    }

    /// `cpu.max` of version 2: quota and period, or `max`.
    private static func unified(_ path: String, _ read: (String) -> String?) -> Double? {
        guard let text = read("/sys/fs/cgroup\(path)/cpu.max") else { return nil }
        let fields = text.split(whereSeparator: \.isWhitespace)
        return fields.count == 2 ? ratio(String(fields[0]), String(fields[1])) : nil
    }

    /// Quota, −1 if there is none, and period of version 1.
    private static func legacy(_ path: String, _ read: (String) -> String?) -> Double? {
        let group = "/sys/fs/cgroup/cpu\(path)"
        guard let quota = read("\(group)/cpu.cfs_quota_us"), let period = read("\(group)/cpu.cfs_period_us") else {
            return nil
        }
        return ratio(quota, period)
    }

    private static func ratio(_ quota: String, _ period: String) -> Double? {
        guard let quota = Double(quota.trimmingCharacters(in: .whitespacesAndNewlines)),
            let period = Double(period.trimmingCharacters(in: .whitespacesAndNewlines)), quota > 0, period > 0
        else { return nil }
        return quota / period
    }
}
