public import StepProtocol

/// Writes a snapshot of one slice piece by piece, in any order, under a temporary name.
///
/// Used by one thread at a time, which need not be the store's. A writer that is released unfinished leaves nothing
/// behind.
public final class SnapshotWriter: @unchecked Sendable {
    public let slice: SliceName
    public let shape: SliceShape
    /// The class version that the slice is written in.
    public let classVersion: Int
    private let name: String
    private let path: String
    private let file: StoreFile
    private let layout: SnapshotLayout
    private var chunks: [SnapshotChunk?]
    private var reference: SnapshotReference?

    init(
        _ slice: SliceName, _ shape: SliceShape, classVersion: Int, directory: String, name: String
    ) throws(CenterStoreError) {
        guard shape.isPossible(of: slice) else {
            throw CenterStoreError(
                .layout,
                "\(slice) cannot have \(shape.rowCount) rows of \(shape.width) in pieces of \(shape.chunkRows) as \(shape.format)"
            )
        }
        self.slice = slice
        self.shape = shape
        self.classVersion = classVersion
        self.name = name
        path = directory + "/" + name
        layout = SnapshotLayout(slice, shape)
        chunks = Array(repeating: nil, count: shape.chunkCount)
        file = try StoreFile(path + FileIO.temporarySuffix, .create)
    }

    deinit { if reference == nil { try? FileIO.remove(path + FileIO.temporarySuffix) } }

    /// Pieces that are still to be written, ascending.
    public var missingChunks: [Int] { chunks.indices.filter { chunks[$0] == nil } }

    /// Writes piece `chunk` as it is after `step`: rows and momentum as they are kept. A piece may be written again.
    ///
    /// - Throws: `CenterStoreError`, `.diskFull` if there is no room: the call may be repeated.
    public func write(
        chunk: Int, step: Int, rows: UnsafeRawBufferPointer, momentum: UnsafeRawBufferPointer
    ) throws(CenterStoreError) {
        guard reference == nil, chunks.indices.contains(chunk), case let bytes = shape.bytes(ofChunk: chunk),
            rows.count == bytes.rows.count, momentum.count == bytes.momentum.count
        else {
            throw CenterStoreError(
                .layout,
                "piece \(chunk) of \(slice) with \(rows.count) and \(momentum.count) bytes does not fit: it has \(chunks.count) pieces"
            )
        }
        chunks[chunk] = nil
        try file.write([rows], at: layout.rowsOffset + bytes.rows.lowerBound)
        try file.write([momentum], at: layout.momentumOffset + bytes.momentum.lowerBound)
        chunks[chunk] = SnapshotChunk(
            step: step, rowsChecksum: Checksum.of(rows), momentumChecksum: Checksum.of(momentum))
    }

    /// The step that a piece was written for, nil if it was not.
    public func step(ofChunk chunk: Int) -> Int? { chunks.indices.contains(chunk) ? chunks[chunk]?.step : nil }

    /// Syncs the file and gives it its name. Until it is installed, a restart of the shard removes it.
    ///
    /// - Parameter emptyStep: the step that a slice without rows is of.
    /// - Throws: `CenterStoreError` if pieces are missing, or the file cannot be written: the call may be repeated.
    public func finish(emptyStep: Int = -1) throws(CenterStoreError) -> SnapshotReference {
        if let reference { return reference }
        let written = chunks.compactMap { $0 }
        guard written.count == chunks.count else {
            throw CenterStoreError(.layout, "\(slice): pieces \(missingChunks.prefix(8)) were not written")
        }
        let tables = SnapshotLayout.tables(written)
        let checks = SnapshotLayout.checks(header: layout.header, tables: tables)
        try layout.header.withBytes { (bytes) throws(CenterStoreError) in try file.write([bytes], at: 0) }
        try (tables + checks).withBytes { (bytes) throws(CenterStoreError) in
            try file.write([bytes], at: layout.tablesOffset)
        }
        try file.sync()
        try FileIO.rename(path + FileIO.temporarySuffix, to: path)
        try FileIO.syncDirectory(FileIO.directory(of: path))
        let steps = written.map(\.step)
        let result = SnapshotReference(
            file: name, shape: shape, classVersion: classVersion, minStep: steps.min() ?? emptyStep,
            maxStep: steps.max() ?? emptyStep,
            byteCount: layout.byteCount)
        reference = result
        return result
    }

    /// Removes what was written.
    public func discard() throws(CenterStoreError) {
        try FileIO.remove(path + FileIO.temporarySuffix)
        try FileIO.remove(path)
    }
}
