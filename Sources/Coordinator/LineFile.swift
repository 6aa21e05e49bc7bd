import Foundation

/// A file of lines, read from its end or somewhere in the middle: never all of it at once.
struct LineFile {
    let handle: FileHandle

    static let newline: UInt8 = 0x0A
    private static let blockByteCount = 64 << 10
    /// A line that is longer is none of ours, and is not read.
    private static let lineLimit = 1 << 20

    /// A line, and where it lies with its newline.
    struct Line {
        var range: Range<Int>
        var bytes: Data
    }

    var byteCount: Int { get throws { Int(try handle.seekToEnd()) } }

    /// The bytes of a range that is in the file.
    func read(_ range: Range<Int>) throws -> Data {
        try handle.seek(toOffset: UInt64(range.lowerBound))
        return try handle.read(upToCount: range.count) ?? Data()
    }

    /// The end of the last line that ends at `end` or before it, 0 if there is none.
    func lineEnd(before end: Int) throws -> Int {
        var end = end
        while end > 0 {
            let start = max(0, end - Self.blockByteCount)
            let block = try read(start..<end)
            if let index = block.lastIndex(of: Self.newline) { return start + (index - block.startIndex) + 1 }
            end = start
        }
        return 0
    }

    /// The line that ends at `end`; nil at the beginning of the file.
    func line(endingAt end: Int) throws -> Line? {
        guard end > 0 else { return nil }
        return try line(try lineEnd(before: end - 1)..<end)
    }

    /// The first line that begins at `start` or after it, and ends at `end` or before it.
    ///
    /// - Parameter isBeginning: whether a line begins at `start`.
    func line(from start: Int, isBeginning: Bool, before end: Int) throws -> Line? {
        var start = start
        if !isBeginning {
            guard let next = try newline(from: max(0, start - 1), before: end) else { return nil }
            start = next + 1
        }
        guard start < end, let last = try newline(from: start, before: end) else { return nil }
        return try line(start..<last + 1)
    }

    private func line(_ range: Range<Int>) throws -> Line {
        Line(range: range, bytes: range.count > Self.lineLimit ? Data() : try read(range))
    }

    private func newline(from start: Int, before end: Int) throws -> Int? {
        var start = start
        while start < end {
            let block = try read(start..<min(end, start + 4096))
            if block.isEmpty { return nil }
            if let index = block.firstIndex(of: Self.newline) { return start + (index - block.startIndex) }
            start += block.count
        }
        return nil
    }

    /// Calls `body` with every line of a range of whole lines that begins with `text`, in order.
    func forEachLine(in range: Range<Int>, beginningWith text: String, _ body: (Data) throws -> Void) throws {
        let mark = Array(text.utf8)
        var (position, size) = (range.lowerBound, 1 << 20)
        while position < range.upperBound {
            let block = try read(position..<min(range.upperBound, position + size))
            guard let last = block.lastIndex(of: Self.newline) else {
                if position + block.count >= range.upperBound || size >= 1 << 26 { return }
                size *= 2
                continue
            }
            let whole = block[block.startIndex...last]
            for line in Self.lines(in: whole, beginningWith: mark) { try body(line) }
            position += whole.count
            size = 1 << 20
        }
    }

    private static func lines(in block: Data, beginningWith mark: [UInt8]) -> [Data] {
        block.withUnsafeBytes { bytes -> [Data] in
            var (found, start) = ([Data](), 0)
            while start < bytes.count, let base = bytes.baseAddress,
                let hit = memchr(base + start, Int32(newline), bytes.count - start)
            {
                let end = UnsafeRawPointer(hit) - base + 1
                if end - start > mark.count, memcmp(base + start, mark, mark.count) == 0 {
                    found.append(Data(bytes[start..<end]))
                }
                start = end
            }
            return found
        }
    }
}
