internal import Dataset
internal import Foundation

/// Errors of blocks that run at the same time: that of the first is told.
final class Failures: @unchecked Sendable {
    private let lock = NSLock()
    private var errors: [Int: DatasetError] = [:]

    var first: DatasetError? { all.first?.error }

    /// By place.
    var all: [(place: Int, error: DatasetError)] {
        lock.withLock { errors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }
    }

    func add(_ place: Int, _ error: DatasetError) { lock.withLock { errors[place] = error } }
}
