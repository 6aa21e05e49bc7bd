internal import CKernels
internal import Foundation

/// The processor cores that this process may use.
public struct ProcessorCores: Sendable, Equatable {
    /// Numbers of the cores, ascending, as the operating system counts them.
    public let numbers: [Int]

    /// Cores beyond this number are not looked at.
    private static let limit = 8192
    private static let wordBits = 64

    /// Those that the scheduler may run this process on.
    public static var allowed: ProcessorCores {
        var mask = [UInt64](repeating: 0, count: limit / wordBits)
        guard pfc_allowed_cores(&mask, mask.count) == 0 else {
            return ProcessorCores(numbers: Array(0..<ProcessInfo.processInfo.activeProcessorCount))
        }
        return ProcessorCores(numbers: (0..<limit).filter { mask[$0 / wordBits] >> UInt64($0 % wordBits) & 1 == 1 })
    }

    /// How many threads are of use: the allowed cores, but no more than the share of time that the process's control group gives
    /// it, rounded up; at least 1.
    public static var usableCount: Int {
        let quota = ControlGroup.processorQuota.map { Int($0.rounded(.up)) } ?? .max
        return max(1, min(allowed.numbers.count, quota))
    }

    /// - Parameter list: numbers and ranges as of `taskset`: `0-3,8`.
    /// - Returns: nil if it is not such a list.
    public init?(list: String) {
        var numbers: Set<Int> = []
        for part in list.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first >= 0,
                last >= first, last < Self.limit
            else { return nil }
            numbers.formUnion(first...last)
        }
        self.numbers = numbers.sorted()
    }

    init(numbers: [Int]) { self.numbers = numbers }

    /// Keeps this thread, and the ones that it makes from now on, on these cores.
    ///
    /// - Returns: whether the system did so: not if it has none of them, or this process may use none.
    public func keepThreadHere() -> Bool {
        var mask = [UInt64](repeating: 0, count: Self.limit / Self.wordBits)
        for number in numbers { mask[number / Self.wordBits] |= 1 << UInt64(number % Self.wordBits) }
        return pfc_stay_on_cores(mask, mask.count) == 0
    }
}
