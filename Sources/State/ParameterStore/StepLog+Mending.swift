/// What is done about a file of the log that could not be synced.
extension StepLog {
    /// Whether a file could not be synced, and must be written anew.
    var needsMending: Bool { needsDirectorySync || segments.contains { $0.file.syncFailure != nil } }

    /// Writes files that could not be synced anew, from what can be read of them: every record is checked on its way.
    ///
    /// After a failed sync the system counts pages as written that it has dropped, so that no later sync of the same file tells
    /// anything. The new file is another one.
    ///
    /// - Throws: `CenterStoreError`; the call may be repeated. `.damaged` if a record is lost: only a restart, which goes back, helps.
    func mend() throws(CenterStoreError) {
        for position in segments.indices where segments[position].file.syncFailure != nil {
            segments[position].file = try rewritten(segments[position])
            needsDirectorySync = true
        }
        guard needsDirectorySync else { return }
        try FileIO.syncDirectory(directory)
        needsDirectorySync = false
    }

    /// Another file with the same bytes in the place of a segment's.
    private func rewritten(_ segment: Segment) throws(CenterStoreError) -> StoreFile {
        let path = path(segment.number)
        let temporary = path + FileIO.temporarySuffix
        do throws(CenterStoreError) {
            let file = try StoreFile(temporary, .create)
            try Self.segmentHeader.withBytes { (bytes) throws(CenterStoreError) in try file.write([bytes], at: 0) }
            var offset = Self.segmentHeader.count
            while offset < segment.byteCount {
                let copied = try Self.copyRecord(
                    of: segment.file, at: offset, end: segment.byteCount, to: file)
                guard let copied else {
                    throw CenterStoreError(
                        .damaged,
                        "\(path) could not be synced, and the record at offset \(offset) is lost: this shard must be started again, and goes back by what it lost"
                    )
                }
                offset += copied
            }
            try file.sync()
            try file.rename(to: path)
            return file
        } catch {
            try? FileIO.remove(temporary)
            throw error
        }
    }

    /// - Returns: the length of the record, nil if it is not whole.
    private static func copyRecord(
        of source: StoreFile, at offset: Int, end: Int, to target: StoreFile
    ) throws(CenterStoreError) -> Int? {
        guard offset + StepLogFrame.byteCount <= end, let frame = try frame(in: source, at: offset),
            frame.bodyByteCount <= end - offset - StepLogFrame.byteCount
        else { return nil }
        try frame.bytes.withBytes { (bytes) throws(CenterStoreError) in try target.write([bytes], at: offset) }
        let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: min(1 << 20, frame.bodyByteCount), alignment: 64)
        defer { piece.deallocate() }
        var checksum = Checksum()
        var (position, left) = (offset + StepLogFrame.byteCount, frame.bodyByteCount)
        while left > 0 {
            let part = UnsafeMutableRawBufferPointer(rebasing: piece[..<min(piece.count, left)])
            try source.read(into: part, at: position, &checksum)
            try target.write([UnsafeRawBufferPointer(part)], at: position)
            position += part.count
            left -= part.count
        }
        return checksum.value == frame.checksum ? position - offset : nil
    }
}
