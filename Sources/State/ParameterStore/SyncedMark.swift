/// A place in a log: everything in earlier segments, and in this one before `offset`, is before it.
struct LogPosition: Hashable, Comparable {
    var segment: Int
    var offset: Int

    static func < (left: Self, right: Self) -> Bool {
        (left.segment, left.offset) < (right.segment, right.offset)
    }
}

/// Up to where a log is known to be on the disk, kept in a small file beside it.
///
/// It divides what a power cut may have left unfinished, which is cut off, from what must be as it was written: only the first
/// is normal. The file holds two entries that are written in turn, so that one is whole. It is never ahead of the log: it is
/// written after the log was synced, and taken back before the log is cut. It may be behind for as long as `period`.
///
/// Used by one thread at a time.
final class SyncedMark {
    /// Nil if nothing is known: the directory was written by a version that kept no mark.
    private(set) var position: LogPosition?
    private let path: String
    private var file: StoreFile?
    private var sequence: UInt64 = 0
    private var lastSync: ContinuousClock.Instant?
    private let period: Duration

    private static let magic = Array("PFCSYNC1".utf8)
    private static let entryByteCount = 40
    /// Entries lie in different sectors, so that one write cannot spoil both.
    private static let stride = 4096

    /// - Throws: `CenterStoreError` if the file is there and cannot be read.
    init(path: String, period: Duration = .seconds(1)) throws(CenterStoreError) {
        self.path = path
        self.period = period
        guard FileIO.exists(path) else { return }
        let file = try StoreFile(path, .update)
        let count = try file.byteCount
        for slot in 0..<2 where count >= slot * Self.stride + Self.entryByteCount {
            var bytes = [UInt8](repeating: 0, count: Self.entryByteCount)
            try bytes.withMutableBytes { (target) throws(CenterStoreError) in
                try file.read(into: target, at: slot * Self.stride)
            }
            guard let entry = Self.entry(bytes), position == nil || entry.sequence > sequence else { continue }
            (sequence, position) = (entry.sequence, entry.position)
        }
        self.file = file
    }

    /// The log is on the disk up to `position`. That this cannot be noted is no matter.
    func raise(to position: LogPosition) {
        if let known = self.position, known >= position { return }
        do throws(CenterStoreError) {
            let isNew = file == nil
            try write(position)
            // What is written is true whether or not it reaches the disk soon.
            if let lastSync, lastSync + period > .now { return }
            try file?.sync()
            if isNew { try FileIO.syncDirectory(FileIO.directory(of: path)) }
            lastSync = .now
        } catch {
            // Another file for the next try.
            if file?.syncFailure != nil { file = nil }
        }
    }

    /// The log is about to be cut at `position`, or ends there and is on the disk up to it.
    ///
    /// - Throws: `CenterStoreError` if that is not on the disk: the log must not be cut then.
    func set(_ position: LogPosition) throws(CenterStoreError) {
        if self.position == position { return }
        if file?.syncFailure != nil { file = nil }
        let isNew = file == nil
        try write(position)
        try file?.sync()
        if isNew { try FileIO.syncDirectory(FileIO.directory(of: path)) }
        lastSync = .now
    }

    private func write(_ position: LogPosition) throws(CenterStoreError) {
        let target: StoreFile
        if let file { target = file } else { target = try StoreFile(path, .create) }
        let entry = Self.bytes(sequence + 1, position)
        try entry.withBytes { (bytes) throws(CenterStoreError) in
            try target.write([bytes], at: Int((sequence + 1) % 2) * Self.stride)
        }
        file = target
        (sequence, self.position) = (sequence + 1, position)
    }

    private static func bytes(_ sequence: UInt64, _ position: LogPosition) -> [UInt8] {
        var bytes = magic
        for value in [sequence, UInt64(position.segment), UInt64(position.offset)] {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        let checksum = UInt64(Checksum.of(bytes))
        withUnsafeBytes(of: checksum.littleEndian) { bytes.append(contentsOf: $0) }
        return bytes
    }

    private static func entry(_ bytes: [UInt8]) -> (sequence: UInt64, position: LogPosition)? {
        func value(_ index: Int) -> UInt64 {
            bytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)) }
        }
        guard bytes.count == entryByteCount, Array(bytes[..<8]) == magic,
            value(4) == UInt64(Checksum.of(Array(bytes[..<32]))), let segment = Int(exactly: value(2)),
            let offset = Int(exactly: value(3))
        else { return nil }
        return (value(1), LogPosition(segment: segment, offset: offset))
    }
}
