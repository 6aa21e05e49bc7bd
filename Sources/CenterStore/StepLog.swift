internal import Tensors

/// An append-only log of steps in segment files `<stem>.<number>.log`.
///
/// One thread at a time; only `syncer` is shared with another one.
final class StepLog {
    let directory: String
    let stem: String
    private let segmentByteLimit: Int
    /// Ascending without gaps. The last one is appended to.
    private var segments: [Segment]
    private var nextNumber: Int
    private(set) var index = StepLogIndex()
    /// A tail that could not be cut off yet after a write failed.
    private var needsCut = false
    /// What was cut off when the log was opened: a write that a crash interrupted.
    private(set) var tornTail: TornTail?

    private struct Segment {
        var number: Int
        var file: StoreFile
        var byteCount: Int
    }

    static let segmentHeader: [UInt8] = Array("PFCSTEPS".utf8) + [1, 0, 0, 0, 0, 0, 0, 0]

    /// Opens the log whose segments are those from `firstSegment` on, and cuts off a torn tail.
    ///
    /// - Throws: `CenterStoreError`, `.damaged` if anything but the tail is not as it was written.
    init(
        directory: String, stem: String, firstSegment: Int = 0, segmentByteLimit: Int
    ) throws(CenterStoreError) {
        self.directory = directory
        self.stem = stem
        self.segmentByteLimit = segmentByteLimit
        segments = []
        nextNumber = firstSegment
        let numbers = try FileIO.names(in: directory).compactMap { Self.number(of: $0, stem: stem) }
            .filter { $0 >= firstSegment }.sorted()
        for (position, number) in numbers.enumerated() {
            if let last = segments.last, number != last.number + 1 {
                throw CenterStoreError(
                    .damaged,
                    "\(path(last.number + 1)) is missing between its neighbours: restore it from a backup, or the shard from a checkpoint"
                )
            }
            try scan(number, isLast: position == numbers.count - 1)
            nextNumber = number + 1
        }
    }

    // MARK: What there is

    var byteCount: Int { segments.reduce(0) { $0 + $1.byteCount } }
    var newestStep: Int? { index.entries.last?.step }
    var oldestStep: Int? { index.entries.first?.step }
    /// The number that the next new segment has.
    var nextSegment: Int { nextNumber }
    /// The file that was appended to last.
    var activeFile: StoreFile? { segments.last?.file }

    func path(_ number: Int) -> String { "\(directory)/\(Self.name(stem, number))" }

    static func name(_ stem: String, _ number: Int) -> String {
        let digits = String(number)
        return "\(stem).\(String(repeating: "0", count: max(0, 12 - digits.count)))\(digits).log"
    }

    /// The number of a segment of `stem` by its name, nil for other files.
    static func number(of name: String, stem: String) -> Int? {
        guard name.hasPrefix(stem + "."), name.hasSuffix(".log") else { return nil }
        return Int(name.dropFirst(stem.count + 1).dropLast(4))
    }

    // MARK: Writing

    /// Appends a record. `beforeNewSegment` is called before the log goes on in another file.
    ///
    /// - Throws: `CenterStoreError`; the log is as before, and the call may be repeated.
    func append(
        _ record: LogRecord, beforeNewSegment: () throws(CenterStoreError) -> Void
    ) throws(CenterStoreError) {
        var json: [UInt8] = []
        let frame = try StepLogFrame(record, json: &json)
        let byteCount = StepLogFrame.byteCount + frame.bodyByteCount
        if needsCut { try cut() }
        if let last = segments.last, last.byteCount > Self.segmentHeader.count,
            last.byteCount + byteCount > segmentByteLimit
        {
            try beforeNewSegment()
            try addSegment()
        } else if segments.isEmpty {
            try addSegment()
        }
        let last = segments.count - 1
        let (offset, file) = (segments[last].byteCount, segments[last].file)
        do throws(CenterStoreError) { try write(frame.bytes, json, record.tensors, to: file, at: offset) } catch {
            needsCut = true
            try? cut()
            throw error
        }
        segments[last].byteCount += byteCount
        index.append(
            .init(
                segment: segments[last].number, offset: offset, byteCount: byteCount, step: frame.step,
                isClasses: frame.isClasses, classVersion: frame.classVersion))
    }

    private func write(
        _ frame: [UInt8], _ json: [UInt8], _ tensors: [Tensor], to file: StoreFile, at offset: Int
    ) throws(CenterStoreError) {
        var pieces: [UnsafeRawBufferPointer] = []
        defer { withExtendedLifetime(tensors) {} }
        try frame.withBytes { (frame) throws(CenterStoreError) in
            try json.withBytes { (json) throws(CenterStoreError) in
                try StepLogFrame.zeros.withBytes { (zeros) throws(CenterStoreError) in
                    pieces += [frame, json]
                    for tensor in tensors {
                        let count = tensor.byteCount
                        pieces.append(UnsafeRawBufferPointer(start: tensor.rawPointer, count: count))
                        pieces.append(UnsafeRawBufferPointer(rebasing: zeros[..<StepLogFrame.padding(count)]))
                    }
                    try file.write(pieces, at: offset)
                }
            }
        }
    }

    private func addSegment() throws(CenterStoreError) {
        let path = path(nextNumber)
        let file = try StoreFile(path, .create)
        do throws(CenterStoreError) {
            try Self.segmentHeader.withBytes { (bytes) throws(CenterStoreError) in
                try file.write([bytes], at: 0)
            }
            try FileIO.syncDirectory(directory)
        } catch {
            try? FileIO.remove(path)
            throw error
        }
        segments.append(Segment(number: nextNumber, file: file, byteCount: Self.segmentHeader.count))
        nextNumber += 1
    }

    private func cut() throws(CenterStoreError) {
        if let last = segments.last { try last.file.truncate(to: last.byteCount) }
        needsCut = false
    }

    /// Forgets what comes after `step`. What is left is what was there when that step was the last.
    func truncate(after step: Int, classVersion: Int = .max) throws(CenterStoreError) {
        var kept = index
        kept.truncate(after: step, classVersion: classVersion)
        guard kept.entries.count < index.entries.count else { return }
        // From the end on, so that a crash in between leaves a log that is only shorter.
        let end = kept.entries.last
        while let last = segments.last, end.map({ last.number > $0.segment }) ?? (segments.count > 1) {
            try FileIO.remove(path(last.number))
            try FileIO.syncDirectory(directory)
            segments.removeLast()
            nextNumber = last.number
        }
        if !segments.isEmpty {
            let last = segments.count - 1
            segments[last].byteCount = end.map { $0.offset + $0.byteCount } ?? Self.segmentHeader.count
            needsCut = true
            try cut()
            try segments[last].file.sync()
        }
        index = kept
    }

    /// The first segment that has a record of `step` or later, or the last one.
    func firstSegment(neededFrom step: Int) -> Int? {
        let needed = index.entries.first { $0.step >= step }.map(\.segment)
        return [needed, segments.last?.number].compactMap { $0 }.min()
    }

    /// Removes the segments before `number`, which the manifest does not count any more.
    func drop(segmentsBefore number: Int) throws(CenterStoreError) {
        while let first = segments.first, first.number < number {
            try FileIO.remove(path(first.number))
            segments.removeFirst()
        }
        index.removeAll(ofSegmentsBefore: number)
        nextNumber = max(nextNumber, number)
        if segments.isEmpty { needsCut = false }
    }

    /// Makes everything survive a power cut.
    func sync() throws(CenterStoreError) { try segments.last?.file.sync() }

    /// Removes every file.
    func discard() throws(CenterStoreError) { try drop(segmentsBefore: nextNumber) }

    // MARK: Reading

    /// Reads the body of a record into `storage`, at least as long as it, and checks it.
    func read(_ entry: StepLogIndex.Entry, into storage: TensorStorage) throws(CenterStoreError) -> LogRecord {
        guard let first = segments.first, case let position = entry.segment - first.number,
            segments.indices.contains(position)
        else {
            throw CenterStoreError(.io, "the log does not have the record of step \(entry.step) any more")
        }
        let file = segments[position].file
        guard let frame = try Self.frame(in: file, at: entry.offset),
            frame.bodyByteCount == entry.byteCount - StepLogFrame.byteCount
        else { throw Self.damage(file.path, entry.offset) }
        var checksum = Checksum()
        try file.read(
            into: UnsafeMutableRawBufferPointer(start: storage.base, count: frame.bodyByteCount),
            at: entry.offset + StepLogFrame.byteCount, &checksum)
        guard checksum.value == frame.checksum else { throw Self.damage(file.path, entry.offset) }
        do { return try frame.record(in: storage) } catch {
            throw CenterStoreError(
                .damaged,
                "\(file.path): the record at offset \(entry.offset) has a form that this version does not know: use the version that wrote it (\(error))"
            )
        }
    }

    private static func frame(in file: StoreFile, at offset: Int) throws(CenterStoreError) -> StepLogFrame? {
        var bytes = [UInt8](repeating: 0, count: StepLogFrame.byteCount)
        try bytes.withMutableBytes { (target) throws(CenterStoreError) in try file.read(into: target, at: offset) }
        return bytes.withUnsafeBytes { StepLogFrame($0) }
    }

    private static func damage(_ path: String, _ offset: Int) -> CenterStoreError {
        CenterStoreError(
            .damaged,
            "\(path): the record at offset \(offset) is not what was written, and is not the end of the log: restore the file from a backup, or start this shard with an empty directory and restore a checkpoint"
        )
    }

    // MARK: Opening

    private func scan(_ number: Int, isLast: Bool) throws(CenterStoreError) {
        let path = path(number)
        let file = try StoreFile(path, .update)
        let end = try file.byteCount
        var header = [UInt8](repeating: 0, count: Self.segmentHeader.count)
        if end >= header.count {
            try header.withMutableBytes { (bytes) throws(CenterStoreError) in try file.read(into: bytes, at: 0) }
        }
        guard header == Self.segmentHeader else {
            // A crash may come between the file and its first bytes.
            guard isLast, try Self.firstRecord(in: file, from: 0, to: end) == nil else {
                throw CenterStoreError(
                    .damaged,
                    "\(path): offset 0 is not the beginning of a log of this version: restore the file from a backup, or use the version that wrote it"
                )
            }
            tornTail = end > 0 ? TornTail(path: path, offset: 0, byteCount: end) : nil
            try FileIO.remove(path)
            return
        }
        var offset = header.count
        while offset < end {
            // The bodies of earlier segments are checked when they are read: a torn write can only be in the last one.
            guard let frame = try Self.wholeFrame(in: file, at: offset, end: end, checksBody: isLast) else {
                guard isLast, try Self.firstRecord(in: file, from: offset + 8, to: end) == nil else {
                    throw Self.damage(path, offset)
                }
                tornTail = TornTail(path: path, offset: offset, byteCount: end - offset)
                try file.truncate(to: offset)
                try file.sync()
                break
            }
            let byteCount = StepLogFrame.byteCount + frame.bodyByteCount
            index.append(
                .init(
                    segment: number, offset: offset, byteCount: byteCount, step: frame.step,
                    isClasses: frame.isClasses, classVersion: frame.classVersion))
            offset += byteCount
        }
        segments.append(Segment(number: number, file: file, byteCount: offset))
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
