public import Cluster
public import Tensors

/// Writes the files of a checkpoint: one per slice, straight from the memory that the slice is in.
public struct CheckpointWriter: Sendable {
    public let directory: String

    /// Files are written into `directory`, which is made when needed.
    public init(directory: String) { self.directory = directory }

    /// Removes files of a checkpoint that could not be completed, unless the directory holds a complete one with the same.
    public func discard(_ files: [CheckpointManifest.File]) {
        if FileIO.exists("\(directory)/\(CheckpointManifest.fileName)") { return }
        for file in files { try? FileIO.remove("\(directory)/\(file.path)") }
    }

    /// Writes a slice of class centers. A file that is there already is replaced.
    ///
    /// - Throws: `CenterStoreError` if the slice is not held, or the file cannot be written.
    public func write(slice: Int, of table: CenterTable) throws(CenterStoreError) -> CheckpointManifest.File {
        guard let memory = table.memory(of: slice) else {
            throw CenterStoreError(.notHeld, "slice \(slice) is not held here, and cannot be saved")
        }
        defer { withExtendedLifetime(memory) {} }
        let classes = table.layout.classes(of: slice)
        guard classes.count == memory.rowCount else {
            throw CenterStoreError(.layout, "slice \(slice) has \(memory.rowCount) rows for \(classes.count) classes")
        }
        let ids = classes.ranges.flatMap { $0.map(Int64.init) }
        return try write(
            .centers(slice), rowCount: memory.rowCount, width: table.embeddingSize, format: table.format,
            planes: memory.bytes(of: 0..<memory.rowCount).map { UnsafeRawBufferPointer($0) }, ids: ids)
    }

    /// Writes a slice of the backbone: its planes, vectors of equal length. A file that is there already is replaced.
    ///
    /// - Throws: `CenterStoreError` if the vectors do not fit each other, or the file cannot be written.
    public func write(
        denseSlice: Int, format: TableFormat = .f32, planes: [Tensor]
    ) throws(CenterStoreError) -> CheckpointManifest.File {
        let count = planes.first?.count ?? 0
        guard planes.map(\.dtype) == format.planes.map(\.format.dtype), planes.allSatisfy({ $0.count == count }) else {
            throw CenterStoreError(
                .layout, "dense slice \(denseSlice) has planes of \(planes.map(\.shape)), to be kept as \(format)")
        }
        defer { withExtendedLifetime(planes) {} }
        return try write(
            .dense(denseSlice), rowCount: count, width: 1, format: format,
            planes: planes.map { UnsafeRawBufferPointer(start: $0.rawPointer, count: $0.byteCount) }, ids: [])
    }

    /// Writes a slice from memory: `rowCount` rows of `width` numbers in each plane of `format`, and the class of each row (none for
    /// the backbone).
    ///
    /// - Throws: `CenterStoreError` if the lengths do not fit each other, or the file cannot be written.
    public func write(
        _ slice: SliceName, rowCount: Int, width: Int, format: TableFormat = .f32, planes: [UnsafeRawBufferPointer],
        ids: [Int64]
    ) throws(CenterStoreError) -> CheckpointManifest.File {
        guard SliceShape(rowCount: rowCount, width: width, chunkRows: 1, format: format).isPossible(of: slice),
            case let layout = CheckpointLayout(slice, rowCount: rowCount, width: width, format: format),
            planes.map(\.count) + (slice.isDense ? [] : [8 * ids.count]) == layout.parts
        else {
            throw CenterStoreError(
                .layout, "\(slice): planes of \(planes.map(\.count)) bytes, \(ids.count) ids for \(rowCount) rows")
        }
        let name = CheckpointManifest.path(of: slice)
        let path = "\(directory)/\(name)"
        try FileIO.makeDirectory(FileIO.directory(of: path))
        let temporary = path + FileIO.temporarySuffix
        var hash = CheckpointHash()
        do throws(CenterStoreError) {
            let file = try StoreFile(temporary, .create)
            var offset = 0
            func append(_ bytes: UnsafeRawBufferPointer) throws(CenterStoreError) {
                for start in stride(from: 0, to: bytes.count, by: CheckpointHash.pieceByteCount) {
                    let end = min(start + CheckpointHash.pieceByteCount, bytes.count)
                    let piece = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                    hash.update(piece)
                    try file.write([piece], at: offset)
                    offset += piece.count
                }
            }
            try layout.header.withBytes { (bytes) throws(CenterStoreError) in try append(bytes) }
            for plane in planes { try append(plane) }
            let idBytes = ids.withUnsafeBytes { Array($0) }
            try idBytes.withBytes { (bytes) throws(CenterStoreError) in try append(bytes) }
            try file.sync()
            try FileIO.rename(temporary, to: path)
        } catch {
            try? FileIO.remove(temporary)
            throw error
        }
        try FileIO.syncDirectory(FileIO.directory(of: path))
        return CheckpointManifest.File(path: name, slice: slice, bytes: layout.byteCount, hash: hash.digits)
    }
}
