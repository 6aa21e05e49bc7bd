/// Opening a log: what is there, and what of it counts.
///
/// A power cut leaves anything of what was not synced: a part of it, zeros, holes between whole records, whole files missing.
/// That is a *torn tail*, which is cut off. A record that is there in full with other bytes is none. What was synced must be as it was written, or the log is *damaged*, which is
/// refused; only that its end is missing altogether is taken for a tail, for the cluster knows how to go back. Where it is not
/// known what was synced, a tail is what has no whole record after it.
extension StepLog {
    func open(from firstSegment: Int, synced: LogPosition?) throws(CenterStoreError) {
        let numbers = try FileIO.names(in: directory).compactMap { Self.number(of: $0, stem: stem) }
            .filter { $0 >= firstSegment }.sorted()
        for (position, number) in numbers.enumerated() {
            let later = numbers[(position + 1)...]
            if let last = segments.last, number != last.number + 1 {
                guard let synced, LogPosition(segment: last.number + 1, offset: 0) >= synced else {
                    throw CenterStoreError(
                        .damaged,
                        "\(path(last.number + 1)) is missing between its neighbours: restore it from a backup, or the shard from a checkpoint"
                    )
                }
                try removeTail([number] + later, from: path(number), offset: 0, byteCount: 0, wasSynced: false)
                return
            }
            if try !scan(number, later: Array(later), synced) { return }
        }
    }

    /// Removes the segments of a torn tail, the last one first.
    private func removeTail(
        _ numbers: [Int], from torn: String, offset: Int, byteCount: Int, wasSynced: Bool
    ) throws(CenterStoreError) {
        var byteCount = byteCount
        for number in numbers.reversed() {
            byteCount += (try? StoreFile(path(number), .read).byteCount) ?? 0
            try FileIO.remove(path(number))
        }
        if !numbers.isEmpty { try FileIO.syncDirectory(directory) }
        if byteCount > 0 {
            tornTail = TornTail(path: torn, offset: offset, byteCount: byteCount, wasSynced: wasSynced)
        }
    }

    /// Reads what is in a segment; `later` are those after it.
    ///
    /// - Returns: false if the log ends in this segment, because a tail was cut off.
    private func scan(_ number: Int, later: [Int], _ synced: LogPosition?) throws(CenterStoreError) -> Bool {
        let path = path(number)
        let file = try StoreFile(path, .update)
        let end = try file.byteCount
        var header = [UInt8](repeating: 0, count: Self.segmentHeader.count)
        if end >= header.count {
            try header.withMutableBytes { (bytes) throws(CenterStoreError) in try file.read(into: bytes, at: 0) }
        }
        var offset = 0
        if header == Self.segmentHeader {
            offset = header.count
            while offset < end {
                // What was synced is checked when it is read, but for the last segment, and where nothing is known.
                let checksBody =
                    later.isEmpty || synced.map { LogPosition(segment: number, offset: offset) >= $0 } ?? false
                guard let frame = try Self.wholeFrame(in: file, at: offset, end: end, checksBody: checksBody) else {
                    break
                }
                let byteCount = StepLogFrame.byteCount + frame.bodyByteCount
                index.append(
                    .init(
                        segment: number, offset: offset, byteCount: byteCount, step: frame.step,
                        isClasses: frame.isClasses, classVersion: frame.classVersion))
                offset += byteCount
            }
            if offset == end {
                segments.append(Segment(number: number, file: file, byteCount: offset))
                nextNumber = number + 1
                return true
            }
        }
        let isAfterMark = synced.map { LogPosition(segment: number, offset: offset) >= $0 } ?? false
        let isTail = isAfterMark ? try isUnfinished(file, from: offset, to: end, later: later) : false
        if !isTail, try !isMissing(file, from: offset, to: end, later: later, isKnown: synced != nil) {
            throw offset == 0 ? Self.unknownBeginning(path) : Self.damage(path, offset)
        }
        try removeTail(later, from: path, offset: offset, byteCount: end - offset, wasSynced: synced != nil && !isTail)
        if offset == 0 {
            // A crash may come between the file and its first bytes.
            try FileIO.remove(path)
            nextNumber = number
        } else {
            try file.truncate(to: offset)
            try file.sync()
            segments.append(Segment(number: number, file: file, byteCount: offset))
            nextNumber = number + 1
        }
        return false
    }

    /// Whether what is broken at `start`, and was not synced, is what a power cut leaves: the end of the log, or a hole in it. A sector that
    /// did not reach the disk reads as zeros; a record that is there in full with other bytes was damaged.
    private func isUnfinished(
        _ file: StoreFile, from start: Int, to end: Int, later: [Int]
    ) throws(CenterStoreError) -> Bool {
        let next = try Self.firstRecord(in: file, from: start == 0 ? 0 : start + 8, to: end)
        if next == nil {
            var isLast = true
            for number in later where isLast {
                let file = try StoreFile(path(number), .read)
                isLast = try Self.firstRecord(in: file, from: 0, to: file.byteCount) == nil
            }
            if isLast || start + StepLogFrame.byteCount > end { return true }
            if let frame = try Self.frame(in: file, at: start),
                frame.bodyByteCount > end - start - StepLogFrame.byteCount
            {
                return true
            }
        }
        return try Self.hasHole(file, start..<(next ?? end))
    }

    /// Whether there is a sector of zeros, or nothing but zeros.
    private static func hasHole(_ file: StoreFile, _ range: Range<Int>) throws(CenterStoreError) -> Bool {
        let sector = 512
        var bytes = [UInt8](repeating: 1, count: 1 << 20)
        var position = range.lowerBound
        var isAllZero = true
        while position < range.upperBound {
            // Pieces end at sectors.
            let end = min(range.upperBound, (position + bytes.count) / sector * sector)
            let count = end - position
            try bytes.withMutableBytes { (target) throws(CenterStoreError) in
                try file.read(into: UnsafeMutableRawBufferPointer(rebasing: target[..<count]), at: position)
            }
            var first = (position + sector - 1) / sector * sector - position
            if isAllZero { isAllZero = bytes[..<count].allSatisfy { $0 == 0 } }
            while first + sector <= count {
                if bytes[first..<first + sector].allSatisfy({ $0 == 0 }) { return true }
                first += sector
            }
            position = end
        }
        return isAllZero
    }

    /// Whether nothing is left of what came at `start` and after it.
    ///
    /// - Parameter isKnown: whether it is known that it was on the disk. Then a record that is there in full, but with other bytes, is no
    ///   missing one.
    private func isMissing(
        _ file: StoreFile, from start: Int, to end: Int, later: [Int], isKnown: Bool
    ) throws(CenterStoreError) -> Bool {
        guard try Self.firstRecord(in: file, from: start == 0 ? 0 : start + 8, to: end) == nil else { return false }
        guard isKnown else { return later.isEmpty }
        for number in later {
            let file = try StoreFile(path(number), .read)
            guard try Self.firstRecord(in: file, from: 0, to: file.byteCount) == nil else { return false }
        }
        if start + StepLogFrame.byteCount > end { return true }
        if let frame = try Self.frame(in: file, at: start), frame.bodyByteCount > end - start - StepLogFrame.byteCount {
            return true
        }
        return try Self.endsInZeros(file, from: start, to: end)
    }

    /// Whether there is nothing but zeros from `start` on, or from the beginning of a later sector.
    private static func endsInZeros(_ file: StoreFile, from start: Int, to end: Int) throws(CenterStoreError) -> Bool {
        let sector = 512
        let first = min(max(start, (end - 1) / sector * sector), max(start, end - sector))
        var bytes = [UInt8](repeating: 1, count: end - first)
        try bytes.withMutableBytes { (target) throws(CenterStoreError) in try file.read(into: target, at: first) }
        return bytes.allSatisfy { $0 == 0 }
    }

    private static func unknownBeginning(_ path: String) -> CenterStoreError {
        CenterStoreError(
            .damaged,
            "\(path): offset 0 is not the beginning of a log of this version: restore the file from a backup, or use the version that wrote it"
        )
    }

    /// The frame at `offset` if a whole record is there.
    private static func wholeFrame(
        in file: StoreFile, at offset: Int, end: Int, checksBody: Bool
    ) throws(CenterStoreError) -> StepLogFrame? {
        guard offset + StepLogFrame.byteCount <= end, let frame = try frame(in: file, at: offset),
            frame.bodyByteCount <= end - offset - StepLogFrame.byteCount
        else { return nil }
        if !checksBody { return frame }
        let piece = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(256 << 10, frame.bodyByteCount), alignment: 64)
        defer { piece.deallocate() }
        var checksum = Checksum()
        var (position, left) = (offset + StepLogFrame.byteCount, frame.bodyByteCount)
        while left > 0 {
            let part = UnsafeMutableRawBufferPointer(rebasing: piece[..<min(piece.count, left)])
            try file.read(into: part, at: position, &checksum)
            position += part.count
            left -= part.count
        }
        return checksum.value == frame.checksum ? frame : nil
    }

    /// The offset of the first whole record from `start` on. Records begin at multiples of 8.
    private static func firstRecord(
        in file: StoreFile, from start: Int, to end: Int
    ) throws(CenterStoreError) -> Int? {
        let window = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { window.deallocate() }
        var position = start
        while position + StepLogFrame.byteCount <= end {
            let part = UnsafeMutableRawBufferPointer(rebasing: window[..<min(window.count, end - position)])
            try file.read(into: part, at: position)
            for offset in stride(from: 0, through: part.count - 8, by: 8)
            where UInt32(littleEndian: part.load(fromByteOffset: offset, as: UInt32.self)) == StepLogFrame.magic {
                if try wholeFrame(in: file, at: position + offset, end: end, checksBody: true) != nil {
                    return position + offset
                }
            }
            position += part.count & ~7
            if part.count < 8 { break }
        }
        return nil
    }
}
