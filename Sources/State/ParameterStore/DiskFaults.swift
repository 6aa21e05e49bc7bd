internal import Foundation
internal import Synchronization

/// Failures of the disk on demand: the tests make the system refuse a call on some file, as disks do once in years.
///
/// Without a rule it costs the look at a flag.
package final class DiskFaults: Sendable {
    package enum Call: String, Sendable {
        case open, write, sync, truncate, rename
    }

    /// What fails, how often, and what the disk does besides.
    package struct Rule: Sendable {
        var call: Call
        var path: String
        var error: Int32
        var count: Int
        var effect: @Sendable (_ path: String) -> Void

        /// - Parameters:
        ///   - path: a part of the file's path.
        ///   - error: what `errno` is then.
        ///   - count: how often it fails.
        ///   - effect: what happens to the file each time, for instance that it loses what was not synced.
        package init(
            _ call: Call, path: String, error: Int32, count: Int = 1,
            effect: @escaping @Sendable (_ path: String) -> Void = { _ in }
        ) {
            (self.call, self.path, self.error, self.count, self.effect) = (call, path, error, count, effect)
        }
    }

    package static let shared = DiskFaults()
    private let isActive = Atomic<Bool>(false)
    private let rules = Mutex<[Rule]>([])

    /// Lets calls fail from now on.
    package func add(_ rule: Rule) {
        rules.withLock { $0.append(rule) }
        isActive.store(true, ordering: .relaxed)
    }

    /// Ends the rules about paths that contain `path`.
    package func remove(path: String) { rules.withLock { $0.removeAll { $0.path.contains(path) } } }

    /// The error that a call fails with, 0 if it does not.
    func hit(_ call: Call, _ path: @autoclosure () -> String) -> Int32 {
        guard isActive.load(ordering: .relaxed) else { return 0 }
        let path = path()
        let rule = rules.withLock { rules -> Rule? in
            guard
                let index = rules.firstIndex(where: { $0.call == call && path.contains($0.path) && $0.count > 0 })
            else { return nil }
            rules[index].count -= 1
            return rules[index]
        }
        rule?.effect(path)
        return rule?.error ?? 0
    }
}
