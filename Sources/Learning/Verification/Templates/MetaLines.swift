internal import Dataset
internal import Foundation

/// The lines of a text file, one after another: only one buffer of it is in memory, whatever its length.
struct MetaLines {
    /// The longest line that is read. Meta files have lines of about 100 bytes.
    static let maximumLineByteCount = 4096
    /// The most lines that are read; IJB-C's longest file has 15.7 million.
    static let maximumLineCount = 1 << 28

    let path: String
    /// The number of the line that `next` gave last, from 1.
    private(set) var number = 0
    private let file: FileHandle
    private var buffer: [UInt8] = []
    private var position = 0
    private var isAtEnd = false

    /// - Throws: `DatasetError` if the file cannot be opened.
    init(path: String) throws(DatasetError) {
        self.path = path
        guard fileByteCount(path) != nil, let file = FileHandle(forReadingAtPath: path) else {
            throw DatasetError(.missingFile, path: path, "cannot be read")
        }
        self.file = file
    }

    /// The next line without its end, nil at the end of the file. A last line may lack its end.
    ///
    /// - Throws: `DatasetError` if it cannot be read, or the line is too long.
    mutating func next() throws(DatasetError) -> ArraySlice<UInt8>? {
        var searched = position
        while true {
            if let end = buffer[searched...].firstIndex(of: 0x0A) {
                defer { position = end + 1 }
                return try line(position..<end)
            }
            if isAtEnd {
                guard position < buffer.count else { return nil }
                defer { position = buffer.count }
                return try line(position..<buffer.count)
            }
            guard buffer.count - position <= Self.maximumLineByteCount else { throw tooLong(number + 1) }
            searched = buffer.count - position
            try refill()
        }
    }

    /// An error about the line that was read last.
    func fail(_ problem: String, code: DatasetError.Code = .malformedFile) -> DatasetError {
        DatasetError(code, path: path, "line \(number) \(problem)")
    }

    private mutating func line(_ range: Range<Int>) throws(DatasetError) -> ArraySlice<UInt8> {
        number += 1
        var range = range
        if range.upperBound > range.lowerBound, buffer[range.upperBound - 1] == 0x0D {
            range = range.lowerBound..<range.upperBound - 1
        }
        guard range.count <= Self.maximumLineByteCount else { throw tooLong(number) }
        guard number <= Self.maximumLineCount else {
            throw DatasetError(.malformedFile, path: path, "has more than \(Self.maximumLineCount) lines")
        }
        return buffer[range]
    }

    private mutating func refill() throws(DatasetError) {
        buffer.removeFirst(position)
        position = 0
        do {
            // A pool of its own for what Foundation hands out is not needed on Linux.
            guard let more = try file.read(upToCount: 1 << 16), !more.isEmpty else {
                isAtEnd = true
                return
            }
            buffer.append(contentsOf: more)
        } catch { throw DatasetError(.unreadableFile, path: path, "cannot be read: \(error)") }
    }

    private func tooLong(_ line: Int) -> DatasetError {
        DatasetError(
            .malformedFile, path: path,
            "line \(line) has more than \(Self.maximumLineByteCount) bytes: it is no meta file")
    }
}

/// The tokens of a line.
enum MetaTokens {
    /// Parts between single or repeated spaces and tabs.
    static func split(_ line: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        line.split(omittingEmptySubsequences: true) { $0 == 0x20 || $0 == 0x09 }
    }

    /// A whole number of at most 9 digits, without a sign.
    static func number(_ token: ArraySlice<UInt8>) -> Int32? {
        guard (1...9).contains(token.count) else { return nil }
        var value: Int32 = 0
        for byte in token {
            guard (0x30...0x39).contains(byte) else { return nil }
            value = value * 10 + Int32(byte - 0x30)
        }
        return value
    }

    /// A finite number.
    static func real(_ token: ArraySlice<UInt8>) -> Float? {
        guard let value = Float(text(token)), value.isFinite else { return nil }
        return value
    }

    /// For people and for file names: what is not UTF-8 is replaced.
    static func text(_ token: ArraySlice<UInt8>) -> String { String(decoding: token, as: UTF8.self) }
}
