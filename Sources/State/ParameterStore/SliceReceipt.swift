public import Cluster

/// The files of a slice on its way to this shard: its pieces, and the records of the steps since.
///
/// Used by one thread at a time, which need not be the store's. What is not kept by `ShardStore.keep` is gone after a
/// restart.
public final class SliceReceipt: @unchecked Sendable {
    public let slice: SliceName
    public var shape: SliceShape { writer.shape }
    private let writer: SnapshotWriter
    let log: StepLog
    /// The manifest names the files, so that only the store removes them.
    var isKept = false
    /// The slice is owned, or the move was given up.
    var isClosed = false

    /// As long as it lives, its log is no left-over.
    private let lease: LiveFiles.Lease

    init(writer: SnapshotWriter, log: StepLog, lease: LiveFiles.Lease) {
        slice = writer.slice
        self.writer = writer
        self.log = log
        self.lease = lease
    }

    deinit { if !isKept { try? discard() } }

    /// Pieces that are still to be written, ascending.
    public var missingChunks: [Int] { writer.missingChunks }
    /// Length of the records in bytes.
    public var logByteCount: Int { log.byteCount }

    /// Writes piece `chunk` as it is after `step`. See `SnapshotWriter.write`.
    public func write(chunk: Int, step: Int, planes: [UnsafeRawBufferPointer]) throws(CenterStoreError) {
        try writer.write(chunk: chunk, step: step, planes: planes)
    }

    /// Appends a record of the owner's log.
    ///
    /// - Throws: `CenterStoreError`, `.diskFull` if there is no room: the call may be repeated.
    public func append(_ record: LogRecord) throws(CenterStoreError) {
        guard !isClosed else {
            throw CenterStoreError(.layout, "\(slice) is not being received any more")
        }
        try log.append(record) { () throws(CenterStoreError) in }
    }

    /// Makes pieces and records survive a power cut. All pieces must have been written.
    ///
    /// - Parameter emptyStep: the step that a slice without rows is of.
    /// - Throws: `CenterStoreError`; the call may be repeated.
    @discardableResult
    public func sync(emptyStep: Int = -1) throws(CenterStoreError) -> SnapshotReference {
        let reference = try writer.finish(emptyStep: emptyStep)
        try log.sync()
        return reference
    }

    /// Removes the files of a move that was given up. Those of a kept receipt stay until `ShardStore.forgetReceived`.
    public func discard() throws(CenterStoreError) {
        guard !isKept else { return }
        isClosed = true
        try writer.discard()
        try log.discard()
    }
}
