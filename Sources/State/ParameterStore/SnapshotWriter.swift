public import Cluster

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
    /// Nil once it is finished or removed: whoever keeps a thousand finished snapshots keeps no descriptors.
    private var file: StoreFile?
    /// As long as it lives, its file is no left-over.
    private let lease: LiveFiles.Lease
    private let layout: SnapshotLayout
    private var chunks: [SnapshotChunk?]
    private var reference: SnapshotReference?

    init(
        _ slice: SliceName, _ shape: SliceShape, classVersion: Int, directory: String, lease: LiveFiles.Lease
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
        self.lease = lease
        name = lease.stem + ".safetensors"
        path = directory + "/" + name
        layout = SnapshotLayout(slice, shape)
        chunks = Array(repeating: nil, count: shape.chunkCount)
        file = try StoreFile(path + FileIO.temporarySuffix, .create)
    }

    deinit { if reference == nil { try? FileIO.remove(path + FileIO.temporarySuffix) } }

    /// Pieces that are still to be written, ascending.
    public var missingChunks: [Int] { chunks.indices.filter { chunks[$0] == nil } }

    /// Writes piece `chunk` as it is after `step`, plane by plane. A piece may be written again.
    ///
    /// - Throws: `CenterStoreError`, `.diskFull` if there is no room: the call may be repeated.
    public func write(chunk: Int, step: Int, planes: [UnsafeRawBufferPointer]) throws(CenterStoreError) {
        guard let file, chunks.indices.contains(chunk), case let bytes = shape.bytes(ofChunk: chunk),
            planes.map(\.count) == bytes.map(\.count)
        else {
            throw CenterStoreError(
                .layout,
                "piece \(chunk) of \(slice) with \(planes.map(\.count)) bytes does not fit: it has \(chunks.count) pieces"
            )
        }
        chunks[chunk] = nil
        for (plane, offset) in layout.offsets.enumerated() {
            try file.write([planes[plane]], at: offset + bytes[plane].lowerBound)
        }
        chunks[chunk] = SnapshotChunk(step: step, checksums: planes.map(Checksum.of))
    }

    /// The step that a piece was written for, nil if it was not.
    public func step(ofChunk chunk: Int) -> Int? { chunks.indices.contains(chunk) ? chunks[chunk]?.step : nil }

    /// Syncs the file and gives it its name. Until it is installed, a restart of the shard removes it, and so does a sweep once this
    /// writer is gone.
    ///
    /// - Parameter emptyStep: the step that a slice without rows is of.
    /// - Throws: `CenterStoreError` if pieces are missing, or the file cannot be written: the call may be repeated. A file that could
    ///   not be synced is written anew.
    public func finish(emptyStep: Int = -1) throws(CenterStoreError) -> SnapshotReference {
        if let reference { return reference }
        let written = chunks.compactMap { $0 }
        guard written.count == chunks.count else {
            throw CenterStoreError(.layout, "\(slice): pieces \(missingChunks.prefix(8)) were not written")
        }
        guard var file else { throw CenterStoreError(.io, "\(path) was removed: the snapshot must begin anew") }
        if file.syncFailure != nil {
            file = try rewritten(file, written)
            self.file = file
        }
        let tables = SnapshotLayout.tables(written)
        let checks = SnapshotLayout.checks(header: layout.header, tables: tables)
        try layout.header.withBytes { (bytes) throws(CenterStoreError) in try file.write([bytes], at: 0) }
        try (tables + checks).withBytes { (bytes) throws(CenterStoreError) in
            try file.write([bytes], at: layout.tablesOffset)
        }
        try file.sync()
        if file.path != path { try file.rename(to: path) }
        try FileIO.syncDirectory(FileIO.directory(of: path))
        let steps = written.map(\.step)
        let result = SnapshotReference(
            file: name, shape: shape, classVersion: classVersion, minStep: steps.min() ?? emptyStep,
            maxStep: steps.max() ?? emptyStep,
            byteCount: layout.byteCount)
        reference = result
        self.file = nil
        return result
    }

    /// The pieces in another file, after this one could not be synced: the system may have dropped what it could not write. Every
    /// piece is checked on its way.
    private func rewritten(_ old: StoreFile, _ written: [SnapshotChunk]) throws(CenterStoreError) -> StoreFile {
        let new = try StoreFile(path + ".again" + FileIO.temporarySuffix, .create)
        defer { if new.path != path + FileIO.temporarySuffix { try? FileIO.remove(new.path) } }
        if shape.chunkCount > 0 { try copy(from: old, written, to: new) }
        try new.rename(to: path + FileIO.temporarySuffix)
        return new
    }

    private func copy(
        from old: StoreFile, _ written: [SnapshotChunk], to new: StoreFile
    ) throws(CenterStoreError) {
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(1, shape.bytes(ofChunk: 0).map(\.count).max() ?? 0), alignment: 64)
        defer { memory.deallocate() }
        for (index, chunk) in written.enumerated() {
            for (plane, range) in shape.bytes(ofChunk: index).enumerated() {
                let (start, expected) = (layout.offsets[plane], chunk.checksums[plane])
                let piece = UnsafeMutableRawBufferPointer(rebasing: memory[..<range.count])
                var checksum = Checksum()
                try old.read(into: piece, at: start + range.lowerBound, &checksum)
                guard checksum.value == expected else {
                    chunks[index] = nil
                    throw CenterStoreError(
                        .io, "\(path) could not be synced, and piece \(index) of it is lost: it must be written again")
                }
                try new.write([UnsafeRawBufferPointer(piece)], at: start + range.lowerBound)
            }
        }
    }

    /// Removes what was written.
    public func discard() throws(CenterStoreError) {
        file = nil
        try FileIO.remove(path + FileIO.temporarySuffix)
        try FileIO.remove(path)
    }
}
