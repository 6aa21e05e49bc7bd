internal import Tensors

/// Reads the records of a log one after the other: those that count, in the order of their steps.
///
/// The memory of a record is used again for the next one, if nothing refers to its tensors any more.
public struct LogCursor {
    private let log: StepLog?
    private let entries: [StepLogIndex.Entry]
    private var position = 0
    private var storage: TensorStorage?

    init(_ log: StepLog?, _ entries: [StepLogIndex.Entry]) {
        self.log = log
        self.entries = entries
    }

    /// How many records there are.
    public var count: Int { entries.count }
    /// Length of all of them in bytes.
    public var byteCount: Int { entries.reduce(0) { $0 + $1.byteCount } }
    /// The steps of the records, ascending; a step may have class operations after it.
    public var steps: [Int] { entries.map(\.step) }

    /// The next record, nil after the last one.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if it is not what was written.
    public mutating func next() throws(CenterStoreError) -> LogRecord? {
        guard let log, position < entries.count else { return nil }
        let entry = entries[position]
        position += 1
        let memory: TensorStorage
        if isKnownUniquelyReferenced(&storage), let held = storage, held.byteCount >= entry.byteCount {
            memory = held
        } else {
            memory = TensorStorage(byteCount: entry.byteCount + entry.byteCount / 4)
        }
        storage = memory
        return try log.read(entry, into: memory)
    }
}
