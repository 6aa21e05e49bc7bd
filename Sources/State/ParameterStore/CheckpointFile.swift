internal import Foundation

/// A checkpoint's file that is read from its beginning to its end while its hash is computed.
final class CheckpointFile {
    private let entry: CheckpointManifest.File
    private let file: StoreFile
    private var hash = CheckpointHash()
    private var offset = 0
    /// Gets what is read, while it is copied.
    private var copy: StoreFile?

    /// - Throws: `CenterStoreError`, `.damaged` if it has another length.
    init(_ path: String, _ entry: CheckpointManifest.File) throws(CenterStoreError) {
        self.entry = entry
        file = try StoreFile(path, .read)
        let size = try file.byteCount
        guard size == entry.bytes else { throw damage("it has \(size) bytes instead of \(entry.bytes)") }
    }

    /// Reads the next bytes: a header, or a tensor.
    func read(_ target: UnsafeMutableRawBufferPointer) throws(CenterStoreError) {
        for start in stride(from: 0, to: target.count, by: CheckpointHash.pieceByteCount) {
            let end = min(start + CheckpointHash.pieceByteCount, target.count)
            let piece = UnsafeMutableRawBufferPointer(rebasing: target[start..<end])
            try file.read(into: piece, at: offset)
            hash.update(UnsafeRawBufferPointer(piece))
            try copy?.write([UnsafeRawBufferPointer(piece)], at: offset)
            offset += piece.count
        }
    }

    /// Reads a tensor for its hash alone.
    func skip(_ byteCount: Int) throws(CenterStoreError) {
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(byteCount, CheckpointHash.pieceByteCount), alignment: 64)
        defer { memory.deallocate() }
        var left = byteCount
        while left > 0 {
            let piece = UnsafeMutableRawBufferPointer(rebasing: memory[..<min(left, memory.count)])
            try read(piece)
            left -= piece.count
        }
    }

    /// Reads the header, and gives the lengths of the tensors in the file's order.
    func readParts() throws(CenterStoreError) -> [Int] {
        struct Tensor: Decodable {
            var offsets: [Int]?

            enum CodingKeys: String, CodingKey { case offsets = "data_offsets" }
        }
        var length = [UInt8](repeating: 0, count: 8)
        guard entry.bytes >= 8 else { throw damage("it is too short") }
        try length.withMutableBytes { (bytes) throws(CenterStoreError) in try file.read(into: bytes, at: 0) }
        let count = length.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
        guard count <= UInt64(min(entry.bytes - 8, 1 << 20)) else {
            throw damage("its header has an impossible length")
        }
        var header = [UInt8](repeating: 0, count: 8 + Int(count))
        try header.withMutableBytes { (bytes) throws(CenterStoreError) in try read(bytes) }
        let tensors: [String: Tensor]
        do { tensors = try JSONDecoder().decode([String: Tensor].self, from: Data(header[8...])) } catch {
            throw damage("its header is not that of a checkpoint")
        }
        var (parts, end) = ([Int](), 0)
        for offsets in tensors.values.compactMap(\.offsets).sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            guard offsets.count == 2, offsets[0] == end, offsets[1] >= end else {
                throw damage("its header is not that of a checkpoint")
            }
            parts.append(offsets[1] - end)
            end = offsets[1]
        }
        guard end == entry.bytes - header.count else { throw damage("its header is not that of a checkpoint") }
        return parts
    }

    /// - Throws: `CenterStoreError`, `.damaged` if what was read is not what was written.
    func checkHash() throws(CenterStoreError) {
        guard hash.digits == entry.hash else {
            throw damage("its hash is \(hash.digits), the manifest's \(entry.hash)")
        }
    }

    /// Reads a file from its beginning to its end, and compares its hash.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if it is not what was written.
    static func verify(_ path: String, _ entry: CheckpointManifest.File) throws(CenterStoreError) {
        try CheckpointFile(path, entry).readToTheEnd()
    }

    /// Copies a file, and gives the copy its name when it is on the disk and its hash is right.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if the source is not what was written. There is no copy then.
    static func copy(
        _ path: String, _ entry: CheckpointManifest.File, to other: String
    ) throws(CenterStoreError) {
        let file = try CheckpointFile(path, entry)
        try FileIO.write(other) { (target) throws(CenterStoreError) in
            file.copy = target
            try file.readToTheEnd()
        }
    }

    private func readToTheEnd() throws(CenterStoreError) {
        for part in try readParts() { try skip(part) }
        try checkHash()
    }

    func damage(_ what: String) -> CenterStoreError {
        CenterStoreError(.damaged, "\(file.path) is damaged: \(what). Use another checkpoint, or a backup of this file")
    }
}
