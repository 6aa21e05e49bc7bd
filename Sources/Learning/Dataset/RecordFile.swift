internal import CKernels
internal import Foundation

/// An MXNet recordio file, read at given offsets.
///
/// A record is `magic u32, (continuation << 29 | length) u32, bytes, padding to 4`. Where the magic number occurs in the
/// contents, the writer splits the record there (continuation 1, 2, 3 = first, middle, last part); the reader puts it back.
/// Every length is checked against the file before anything is read.
final class RecordFile: Sendable {
    static let magic: UInt32 = 0xCED7_230A
    static let lengthMask: UInt32 = (1 << 29) - 1

    let path: String
    let byteCount: Int
    private let descriptor: Int32

    convenience init(path: String) throws(DatasetError) { try self.init(path: RawPath(path)) }

    init(path raw: RawPath) throws(DatasetError) {
        path = raw.description
        // A pipe would keep the caller waiting for its other end; on files O_NONBLOCK means nothing.
        descriptor = raw.withCString { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard descriptor >= 0 else {
            throw DatasetError(.missingFile, path: path, "cannot be opened: \(String(cString: strerror(errno)))")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.isFile else {
            close(descriptor)
            throw DatasetError(.unreadableFile, path: path, "is not a regular file")
        }
        byteCount = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// `count` bytes at `offset`.
    ///
    /// - Throws: `DatasetError` if the file ends before.
    func bytes(at offset: Int, count: Int) throws(DatasetError) -> [UInt8] {
        guard offset >= 0, count >= 0, offset <= byteCount, count <= byteCount - offset else {
            throw DatasetError(
                .truncatedRecord, path: path, "\(count) bytes at offset \(offset) exceed the file of \(byteCount) bytes"
            )
        }
        var failure: String?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                guard let base = buffer.baseAddress else { return }
                let got = pread(descriptor, base + filled, count - filled, off_t(offset + filled))
                if got < 0 && errno == EINTR { continue }
                if got <= 0 {
                    failure = got == 0 ? "the file became shorter while it was read" : String(cString: strerror(errno))
                    return
                }
                filled += got
            }
        }
        if let failure {
            throw DatasetError(
                .unreadableFile, path: path, "reading \(count) bytes at offset \(offset) failed: \(failure)")
        }
        return bytes
    }

    /// One part of a record: its continuation flag and where its bytes lie.
    private struct Part {
        var continuation: UInt32
        var start: Int
        var length: Int
        var next: Int { start + (length + 3) / 4 * 4 }
    }

    private func part(at offset: Int) throws(DatasetError) -> Part {
        guard offset >= 0, offset <= byteCount - 8 else {
            throw DatasetError(
                .truncatedRecord, path: path, "a record at offset \(offset) exceeds the file of \(byteCount) bytes")
        }
        let words = try bytes(at: offset, count: 8).withUnsafeBytes {
            (
                UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self)),
                UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
            )
        }
        guard words.0 == Self.magic else {
            throw DatasetError(
                .malformedRecord, path: path,
                "offset \(offset) has 0x\(String(words.0, radix: 16)) where a record's 0xced7230a should be")
        }
        let part = Part(
            continuation: words.1 >> 29, start: offset + 8, length: Int(words.1 & Self.lengthMask))
        guard part.length <= byteCount - part.start else {
            throw DatasetError(
                .truncatedRecord, path: path,
                "the record at offset \(offset) claims \(part.length) bytes but \(byteCount - part.start) are left in the file"
            )
        }
        return part
    }

    /// Where the next record begins after `offset`; nil if there is none.
    ///
    /// Records begin at multiples of 4, and no record has the magic number in its contents: what looks like the beginning of one is one.
    ///
    /// - Throws: `DatasetError` if the file cannot be read.
    func nextRecord(after offset: Int) throws(DatasetError) -> Int? {
        var position = (offset + 4) / 4 * 4
        var length = 64 << 10
        while position <= byteCount - 8 {
            let piece = try bytes(at: position, count: min(length, byteCount - position))
            length = min(2 * length, 4 << 20)
            let found = piece.withUnsafeBytes { buffer in
                stride(from: 0, through: buffer.count - 8, by: 4).first { place in
                    let flags = UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: place + 4, as: UInt32.self))
                    let word = UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: place, as: UInt32.self))
                    return word == Self.magic && flags >> 29 <= 1
                        && Int(flags & Self.lengthMask) <= byteCount - position - place - 8
                }
            }
            if let found { return position + found }
            // A beginning may lie across two pieces.
            position += max(4, piece.count / 4 * 4 - 4)
        }
        return nil
    }

    /// The contents of the record at `offset`, at most `limit` bytes of them, and the offset after it.
    func record(at offset: Int, limit: Int = .max) throws(DatasetError) -> (contents: [UInt8], next: Int) {
        var part = try part(at: offset)
        if part.continuation == 0 {
            return (try bytes(at: part.start, count: min(part.length, limit)), part.next)
        }
        var contents: [UInt8] = []
        var expected: [UInt32] = [1]
        var length = 0
        while true {
            guard expected.contains(part.continuation) else {
                throw DatasetError(
                    .malformedRecord, path: path,
                    "the record at offset \(offset) has a part with continuation flag \(part.continuation), expected "
                        + expected.map(String.init).joined(separator: " or "))
            }
            if part.continuation != 1 {
                withUnsafeBytes(of: Self.magic.littleEndian) { contents.append(contentsOf: $0) }
                length += 4
            }
            length += part.length
            guard length <= Int(Self.lengthMask) else {
                throw DatasetError(.malformedRecord, path: path, "the record at offset \(offset) exceeds 512 MiB")
            }
            // The next part is looked at before this one is read: it may not be there.
            let next = part.continuation == 3 ? nil : try self.part(at: part.next)
            if let next, !(2...3).contains(next.continuation) {
                expected = [2, 3]
                part = next
                continue
            }
            contents.append(
                contentsOf: try bytes(at: part.start, count: min(part.length, max(0, limit - contents.count))))
            guard let next else { return (contents.count > limit ? Array(contents[..<limit]) : contents, part.next) }
            expected = [2, 3]
            part = next
        }
    }
}
