public import Cluster
internal import Foundation

/// Which classes there are: those a run began with, and every change since.
///
/// A function of the configuration and the list of operations alone, so that every process that knows the list agrees. The
/// number of operations is the *class version*.
public struct ClassRegistry: Sendable, Hashable {
    /// Classes at the beginning of the run.
    public let baseClassCount: Int
    /// What was done since, in order.
    public private(set) var operations: [ClassOperation] = []
    /// How all classes, the retired ones too, are cut into slices.
    public private(set) var layout: SliceLayout
    /// The classes that are never sampled again; merged ones too.
    public private(set) var retired: SliceSet = []
    /// What the label of a merged class counts as: never a class that is itself merged.
    public private(set) var mergedInto: [Int64: Int64] = [:]

    /// The registry after `operations`.
    ///
    /// - Throws: `CenterStoreError` if the counts are impossible or an operation does not fit what was there before it.
    public init(classCount: Int, sliceCount: Int, operations: [ClassOperation] = []) throws(CenterStoreError) {
        baseClassCount = classCount
        layout = try SliceLayout(classCount: classCount, sliceCount: sliceCount)
        for operation in operations { try apply(operation) }
    }

    /// The registry after the operations in `json`, as `operationsJSON` writes them.
    ///
    /// - Throws: `CenterStoreError` if the text is no list of operations, or one does not fit what was there before it.
    public init(classCount: Int, sliceCount: Int, operationsJSON json: String) throws(CenterStoreError) {
        let operations: [ClassOperation]
        do { operations = try JSONDecoder().decode([ClassOperation].self, from: Data(json.utf8)) } catch {
            throw CenterStoreError(.classes, "the list of class operations cannot be read: \(error)")
        }
        try self.init(classCount: classCount, sliceCount: sliceCount, operations: operations)
    }

    /// Number of operations so far.
    public var version: Int { operations.count }
    /// All classes, the retired ones too.
    public var classCount: Int { layout.classCount }
    /// The classes that can be sampled.
    public var activeCount: Int { classCount - retired.count }

    /// The operations as JSON.
    public var operationsJSON: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        // Numbers and strings: encoding them cannot fail.
        return (try? encoder.encode(operations)).map { String(decoding: $0, as: UTF8.self) } ?? "[]"
    }

    /// Whether class `id` is never sampled again.
    public func isRetired(_ id: Int64) -> Bool { !retired.isEmpty && retired.contains(Int(id)) }

    /// How many operations a run may have, and how long all of them, and one of them, may be as JSON: they travel in one message,
    /// and one of them in a record of the log.
    public static let operationLimit = 10_000
    public static let operationsByteLimit = 8 << 20
    public static let operationByteLimit = 512 << 10

    /// Why one more operation would be too much, with numbers; nil if it is not.
    public func excess(of operation: ClassOperation) -> String? {
        let encoder = JSONEncoder()
        let one = (try? encoder.encode(operation).count) ?? .max
        if one > Self.operationByteLimit {
            return
                "the order names its classes in \(one) bytes; at most \(Self.operationByteLimit) fit into one order: give it in several, or name ranges"
        }
        if operations.count >= Self.operationLimit {
            return "there are \(operations.count) class operations already; a run has at most \(Self.operationLimit)"
        }
        let all = (try? encoder.encode(operations).count) ?? .max
        if all > Self.operationsByteLimit - one {
            return
                "the class operations of the run take \(all) bytes, with this order \(all + one); at most \(Self.operationsByteLimit) fit into a message to a new member"
        }
        return nil
    }

    /// The class that samples of class `id` count as.
    public func label(_ id: Int64) -> Int64 { mergedInto[id] ?? id }

    /// Changes the classes.
    ///
    /// - Throws: `CenterStoreError` that names the class that does not fit; nothing has changed then.
    public mutating func apply(_ operation: ClassOperation) throws(CenterStoreError) {
        switch operation {
        case .add(let count, _, _): layout = try layout.adding(count)
        case .retire(let classes): try retire(classes)
        case .merge(let from, let into):
            try check(from, "merged")
            try check(into, "merged into")
            guard from != into else {
                throw CenterStoreError(.classes, "class \(from) cannot be merged into itself")
            }
            try retire(SliceSet([from..<from + 1]))
            let (from, into) = (Int64(from), Int64(into))
            for (merged, target) in mergedInto where target == from { mergedInto[merged] = into }
            mergedInto[from] = into
        }
        operations.append(operation)
    }

    private mutating func retire(_ classes: SliceSet) throws(CenterStoreError) {
        guard !classes.isEmpty else { throw CenterStoreError(.classes, "no class was named to be retired") }
        // The first that does not fit: one out of range, or one that is retired already.
        for range in classes.ranges {
            if range.lowerBound < 0 { try check(range.lowerBound, "retired") }
            if let known = retired.parts(in: range).first { try check(known.lowerBound, "retired") }
            try check(range.upperBound - 1, "retired")
        }
        guard classes.count < activeCount else {
            throw CenterStoreError(
                .classes, "all \(activeCount) classes that are left cannot be retired: training needs one")
        }
        retired = retired.union(classes)
    }

    private func check(_ id: Int, _ what: String) throws(CenterStoreError) {
        guard (0..<classCount).contains(id) else {
            throw CenterStoreError(
                .classes, "class \(id) cannot be \(what): there are \(classCount) classes, 0...\(classCount - 1)")
        }
        guard !isRetired(Int64(id)) else {
            let into = mergedInto[Int64(id)].map { " (merged into \($0))" } ?? ""
            throw CenterStoreError(.classes, "class \(id) cannot be \(what): it is retired already\(into)")
        }
    }
}
