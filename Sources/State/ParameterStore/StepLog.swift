internal import Tensors

/// An append-only log of steps in segment files `<stem>.<number>.log`.
///
/// One thread at a time; only `syncer` is shared with another one.
final class StepLog {
    let directory: String
    let stem: String
    private let segmentByteLimit: Int
    /// Ascending without gaps. The last one is appended to.
    var segments: [Segment]
    var nextNumber: Int
    var index = StepLogIndex()
    /// A tail that could not be cut off yet after a write failed.
    private var needsCut = false
    /// A file was replaced by another one, which a power cut might undo.
    var needsDirectorySync = false
    /// What was cut off when the log was opened: a write that a crash interrupted.
    var tornTail: TornTail?

    struct Segment {
        var number: Int
        var file: StoreFile
        var byteCount: Int
    }

    static let segmentHeader: [UInt8] = Array("PFCSTEPS".utf8) + [1, 0, 0, 0, 0, 0, 0, 0]

    /// Opens the log whose segments are those from `firstSegment` on, and cuts off a torn tail.
    ///
    /// - Parameter synced: everything before was on the disk; nil if that is not known.
    /// - Throws: `CenterStoreError`, `.damaged` if anything but the tail is not as it was written.
    init(
        directory: String, stem: String, firstSegment: Int = 0, segmentByteLimit: Int, synced: LogPosition? = nil
    ) throws(CenterStoreError) {
        self.directory = directory
        self.stem = stem
        self.segmentByteLimit = segmentByteLimit
        segments = []
        nextNumber = firstSegment
        try open(from: firstSegment, synced: synced)
    }

    // MARK: What there is

    var byteCount: Int { segments.reduce(0) { $0 + $1.byteCount } }
    var newestStep: Int? { index.entries.last?.step }
    var oldestStep: Int? { index.entries.first?.step }
    /// The number that the next new segment has.
    var nextSegment: Int { nextNumber }
    /// The file that was appended to last.
    var activeFile: StoreFile? { segments.last?.file }
    /// Where the next record begins.
    var end: LogPosition {
        segments.last.map { LogPosition(segment: $0.number, offset: $0.byteCount) }
            ?? LogPosition(segment: nextNumber, offset: 0)
    }

    func path(_ number: Int) -> String { "\(directory)/\(Self.name(stem, number))" }

    static func name(_ stem: String, _ number: Int) -> String {
        let digits = String(number)
        return "\(stem).\(String(repeating: "0", count: max(0, 12 - digits.count)))\(digits).log"
    }

    /// The number of a segment of `stem` by its name, nil for other files.
    static func number(of name: String, stem: String) -> Int? {
        guard name.hasPrefix(stem + "."), name.hasSuffix(".log") else { return nil }
        return FileIO.number(name.dropFirst(stem.count + 1).dropLast(4))
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

    /// Where the log ends once what comes after `step` is forgotten; nil if there is nothing to forget.
    func end(after step: Int, classVersion: Int) -> LogPosition? {
        var kept = index
        kept.truncate(after: step, classVersion: classVersion)
        guard kept.entries.count < index.entries.count else { return nil }
        if let end = kept.entries.last {
            return LogPosition(segment: end.segment, offset: end.offset + end.byteCount)
        }
        return LogPosition(segment: segments.first?.number ?? nextNumber, offset: Self.segmentHeader.count)
    }

    /// Forgets what comes after `step`. What is left is what was there when that step was the last.
    func truncate(after step: Int, classVersion: Int = .max) throws(CenterStoreError) {
        guard let end = end(after: step, classVersion: classVersion) else { return }
        // From the end on, so that a crash in between leaves a log that is only shorter.
        while let last = segments.last, last.number > end.segment {
            try FileIO.remove(path(last.number))
            try FileIO.syncDirectory(directory)
            segments.removeLast()
            nextNumber = last.number
        }
        if !segments.isEmpty {
            segments[segments.count - 1].byteCount = end.offset
            needsCut = true
            try cut()
            try sync()
        }
        index.truncate(after: step, classVersion: classVersion)
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

    /// Makes everything from segment `first` on survive a power cut.
    ///
    /// - Throws: `CenterStoreError`; the call may be repeated: a file that could not be synced is written anew.
    func sync(from first: Int = .min) throws(CenterStoreError) {
        try mend()
        for segment in segments where segment.number >= first { try segment.file.sync() }
    }

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

    static func frame(in file: StoreFile, at offset: Int) throws(CenterStoreError) -> StepLogFrame? {
        var bytes = [UInt8](repeating: 0, count: StepLogFrame.byteCount)
        try bytes.withMutableBytes { (target) throws(CenterStoreError) in try file.read(into: target, at: offset) }
        return bytes.withUnsafeBytes { StepLogFrame($0) }
    }

    static func damage(_ path: String, _ offset: Int) -> CenterStoreError {
        CenterStoreError(
            .damaged,
            "\(path): the record at offset \(offset) is not what was written, and is not the end of the log: restore the file from a backup, or start this shard with an empty directory and restore a checkpoint"
        )
    }
}
