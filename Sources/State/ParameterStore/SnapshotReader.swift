public import Cluster

/// Reads a snapshot piece by piece into memory that the caller gives, and checks what it reads.
///
/// Several threads may read different pieces at once.
public final class SnapshotReader: Sendable {
    public let slice: SliceName
    public let shape: SliceShape
    public let path: String
    private let file: StoreFile
    private let layout: SnapshotLayout
    private let chunks: [SnapshotChunk]

    /// Opens the snapshot at `path` and checks its header and tables.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if it is not what was written.
    init(_ slice: SliceName, _ reference: SnapshotReference, path: String) throws(CenterStoreError) {
        self.slice = slice
        self.path = path
        shape = reference.shape
        guard shape.isPossible(of: slice) else {
            throw Self.damage(path, 0, "the manifest gives it an impossible shape")
        }
        layout = SnapshotLayout(slice, shape)
        file = try StoreFile(path, .read)
        let size = try file.byteCount
        guard size == layout.byteCount else {
            throw Self.damage(path, min(size, layout.byteCount), "it has \(size) bytes instead of \(layout.byteCount)")
        }
        let header = try Self.bytes(file, 0..<layout.header.count)
        guard header == layout.header else {
            let offset = zip(header, layout.header).enumerated().first { $1.0 != $1.1 }?.offset ?? 0
            throw Self.damage(path, offset, "its header is not the one of \(slice)")
        }
        let tables = try Self.bytes(file, layout.tablesOffset..<layout.checksOffset)
        let checks = try Self.bytes(file, layout.checksOffset..<layout.byteCount)
        guard checks == SnapshotLayout.checks(header: header, tables: tables) else {
            throw Self.damage(path, layout.tablesOffset, "the tables of its pieces have another checksum")
        }
        chunks = layout.chunks(tables)
    }

    /// The step after which piece `index` was taken, for every piece.
    public var chunkSteps: [Int] { chunks.map(\.step) }

    /// Reads piece `chunk` into the memory of each plane, which is exactly as long.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if the bytes are not those that were written: the message has file
    ///   and offset.
    public func read(chunk: Int, into planes: [UnsafeMutableRawBufferPointer]) throws(CenterStoreError) {
        guard chunks.indices.contains(chunk), case let bytes = shape.bytes(ofChunk: chunk),
            planes.map(\.count) == bytes.map(\.count)
        else {
            throw CenterStoreError(.layout, "\(path): piece \(chunk) of \(chunks.count) does not fit its memory")
        }
        let offsets = layout.offsets
        for (plane, target) in planes.enumerated() {
            try read(target, offsets[plane] + bytes[plane].lowerBound, chunks[chunk].checksums[plane], chunk)
        }
    }

    /// Reads and checks everything without keeping it.
    public func verify() throws(CenterStoreError) {
        guard shape.chunkCount > 0 else { return }
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: shape.bytes(ofChunk: 0).map(\.count).max() ?? 0, alignment: 64)
        defer { memory.deallocate() }
        for chunk in chunks.indices {
            try read(
                chunk: chunk,
                into: shape.bytes(ofChunk: chunk).map {
                    UnsafeMutableRawBufferPointer(rebasing: memory[..<$0.count])
                })
        }
    }

    private func read(
        _ target: UnsafeMutableRawBufferPointer, _ offset: Int, _ expected: UInt32, _ chunk: Int
    ) throws(CenterStoreError) {
        var checksum = Checksum()
        try file.read(into: target, at: offset, &checksum)
        guard checksum.value == expected else {
            throw Self.damage(path, offset, "piece \(chunk) (\(target.count) bytes) has another checksum")
        }
    }

    private static func bytes(_ file: StoreFile, _ range: Range<Int>) throws(CenterStoreError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        try bytes.withMutableBytes { (target) throws(CenterStoreError) in
            try file.read(into: target, at: range.lowerBound)
        }
        return bytes
    }

    private static func damage(_ path: String, _ offset: Int, _ what: String) -> CenterStoreError {
        CenterStoreError(
            .damaged,
            "\(path): damaged at offset \(offset): \(what). Restore the file from a backup, or start this shard with an empty directory and restore a checkpoint"
        )
    }
}
