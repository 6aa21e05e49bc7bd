/// A file of a job in a checkpoint: any bytes, whose hash is known once they were copied.
enum CheckpointJobFile {
    /// Reads a file and compares its hash, if one is known.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if it is not what was copied.
    static func verify(_ entry: CheckpointManifest.JobFile, in directory: String) throws(CenterStoreError) {
        guard let expected = entry.hash else { return }
        let path = "\(directory)/\(entry.name)"
        let hash = try read(StoreFile(path, .read), entry.bytes, into: nil)
        guard hash == expected else { throw damage(path, hash, expected) }
    }

    /// Copies a file, and gives the copy its name when it is on the disk.
    ///
    /// - Returns: its hash.
    /// - Throws: `CenterStoreError`, `.damaged` if the source is not what was copied before.
    static func copy(
        _ entry: CheckpointManifest.JobFile, from source: String, to directory: String
    ) throws(CenterStoreError) -> String {
        let path = "\(source)/\(entry.name)"
        let other = "\(directory)/\(entry.name)"
        let file = try StoreFile(path, .read)
        try FileIO.makeDirectory(FileIO.directory(of: other))
        var hash = ""
        try FileIO.write(other) { (target) throws(CenterStoreError) in
            hash = try read(file, entry.bytes, into: target)
            if let expected = entry.hash, hash != expected { throw damage(path, hash, expected) }
        }
        return hash
    }

    private static func read(
        _ file: StoreFile, _ byteCount: Int, into target: StoreFile?
    ) throws(CenterStoreError) -> String {
        var hash = CheckpointHash()
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(1, min(byteCount, CheckpointHash.pieceByteCount)), alignment: 64)
        defer { memory.deallocate() }
        for start in stride(from: 0, to: byteCount, by: memory.count) {
            let piece = UnsafeMutableRawBufferPointer(rebasing: memory[..<min(memory.count, byteCount - start)])
            try file.read(into: piece, at: start)
            hash.update(UnsafeRawBufferPointer(piece))
            try target?.write([UnsafeRawBufferPointer(piece)], at: start)
        }
        return hash.digits
    }

    private static func damage(_ path: String, _ hash: String, _ expected: String) -> CenterStoreError {
        CenterStoreError(
            .damaged,
            "\(path) is damaged: its hash is \(hash), the manifest's \(expected). Use another checkpoint, or a backup of this file"
        )
    }
}
