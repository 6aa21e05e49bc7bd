import Foundation
import ParameterStore
import TestSupport
import Testing

/// Logs of which it is not known what was synced. See `SyncedMarkTests` for the others.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct LogDamageTests {
    typealias Fixture = StoreFixture

    private let segment = "/log/steps.000000000000.log"

    /// A log of three records, its bytes, and where each record begins.
    private func threeRecords(_ folder: TemporaryFolder) throws -> (bytes: [UInt8], starts: [Int]) {
        let store = try Fixture.store(folder.path)
        var starts: [Int] = []
        for step in 0..<3 {
            starts.append(max(16, store.logByteCount))
            try store.append(Fixture.record(step))
        }
        return (try Fixture.bytes(folder.path + segment), starts)
    }

    /// A write that was interrupted anywhere in the last record: cut off, and the log goes on.
    @Test func aTornTailIsCutOffAtEveryByte() throws {
        let folder = try TemporaryFolder()
        let (bytes, starts) = try threeRecords(folder)
        let expected = (0..<2).map { Fixture.text(Fixture.record($0)) }
        for length in starts[2]..<bytes.count {
            // Once as a shorter file, once with the length of the whole record but only zeros from there on.
            for tail in [0, bytes.count - length] {
                try Fixture.overwrite(folder.path + segment, bytes[..<length] + [UInt8](repeating: 0, count: tail))
                try Fixture.forgetMark(folder.path)
                let store = try Fixture.store(folder.path)
                let isWhole = tail > 0 && bytes[length...].allSatisfy { $0 == 0 }
                try #require(store.newestStep == (isWhole ? 2 : 1), "cut at \(length) with \(tail) zeros")
                if isWhole { continue }
                try #require(try Fixture.texts(store.records(after: -1)) == expected)
                let torn = length - starts[2] + tail
                try #require(store.tornTail.map(\.byteCount) == (torn == 0 ? nil : torn))
                try store.append(Fixture.record(2, attempt: 7))
                try #require(try Fixture.names(store) == ["0.0", "1.0", "2.7"])
            }
        }
    }

    /// One flipped bit: never another record than was written; anything but a damaged last record stops, with file and offset.
    @Test func aFlippedBitNeverPasses() throws {
        let folder = try TemporaryFolder()
        let (bytes, starts) = try threeRecords(folder)
        let expected = (0..<3).map { Fixture.text(Fixture.record($0)) }
        for offset in bytes.indices {
            var damaged = bytes
            damaged[offset] ^= 1 << UInt8(offset % 8)
            try Fixture.overwrite(folder.path + segment, damaged)
            try Fixture.forgetMark(folder.path)
            if offset >= starts[2] {
                let store = try Fixture.store(folder.path)
                try #require(try Fixture.texts(store.records(after: -1)) == Array(expected[..<2]), "bit at \(offset)")
                try #require(store.tornTail?.offset == starts[2])
            } else {
                let error = Fixture.error { _ = try Fixture.store(folder.path) }
                let start = offset < 16 ? 0 : offset < starts[1] ? starts[0] : starts[1]
                try #require(error?.code == .damaged, "bit at \(offset): \(String(describing: error))")
                try #require(error?.message.contains("steps.000000000000.log") == true)
                try #require(error?.message.contains("offset \(start) ") == true, "\(offset): \(error!)")
                try #require(try Fixture.bytes(folder.path + segment) == damaged, "nothing may be changed")
            }
        }
    }

    /// In an earlier file nothing can be a torn tail.
    @Test func earlierFilesMustBeWhole() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try Fixture.store(folder.path, segmentByteLimit: 500)
            for step in 0..<6 { try store.append(Fixture.record(step)) }
        }
        try Fixture.forgetMark(folder.path)
        let files = try Fixture.names(in: folder.path + "/log").map { folder.path + "/log/" + $0 }
        try #require(files.count > 2)
        let bytes = try Fixture.bytes(files[0])
        for length in stride(from: 16, to: bytes.count, by: 13) where length != 16 {
            try Fixture.overwrite(files[0], Array(bytes[..<length]))
            try Fixture.forgetMark(folder.path)
            let isBoundary = length == bytes.count / 2 + 8
            try #require(isBoundary || Fixture.code { _ = try Fixture.store(folder.path) } == .damaged, "\(length)")
        }
        // Bodies of earlier files are checked when they are read.
        var damaged = bytes
        damaged[bytes.count - 9] ^= 4
        try Fixture.forgetMark(folder.path)
        try Fixture.overwrite(files[0], damaged)
        do {
            let store = try Fixture.store(folder.path, segmentByteLimit: 500)
            let error = Fixture.error { _ = try Fixture.texts(store.records(after: -1)) }
            #expect(error?.code == .damaged)
            #expect(error?.message.contains(files[0]) == true)
        }
        try Fixture.overwrite(files[0], bytes)
        try FileManager.default.removeItem(atPath: files[1])
        try Fixture.forgetMark(folder.path)
        #expect(Fixture.error { _ = try Fixture.store(folder.path) }?.message.contains(files[1]) == true)
    }

    /// The first bytes of a new file may be missing after a crash.
    @Test func anUnbegunLastFileIsNoDamage() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try Fixture.store(folder.path, segmentByteLimit: 400)
            for step in 0..<3 { try store.append(Fixture.record(step)) }
        }
        let last = try #require(try Fixture.names(in: folder.path + "/log").last)
        let next = "steps.00000000000\(try #require(last.split(separator: ".")[1].last?.wholeNumberValue) + 1).log"
        for length in 0..<16 {
            try Fixture.overwrite(folder.path + "/log/" + next, [UInt8](repeating: 0, count: length))
            let store = try Fixture.store(folder.path, segmentByteLimit: 400)
            #expect(store.newestStep == 2)
            #expect(try !Fixture.names(in: folder.path + "/log").contains(next))
        }
    }
}
