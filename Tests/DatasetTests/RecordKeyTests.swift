import Dataset
import Foundation
import TestSupport
import Testing

private var skipping: DatasetOptions {
    var options = gray2
    options.badSamples = .skip
    return options
}

/// Record files whose keys or index do not fit.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct RecordKeyTests {
    /// Six images of three classes, whose headers have these ids.
    private func write(_ ids: [Int], withIndex: Bool, to folder: TemporaryFolder) throws -> RecordWriter {
        var writer = RecordWriter()
        for (number, id) in ids.enumerated() {
            let image = pgm([UInt8](repeating: UInt8(number * 10 + 10), count: 4), width: 2, height: 2)
            writer.add(key: id, label: Float(number / 2), image: image)
        }
        _ = try writer.write(to: folder, withIndex: withIndex)
        return writer
    }

    private func values(_ set: RecordDataset) throws -> [UInt8] {
        try (0..<set.sampleCount).map { try set.pixels(of: $0)[0] }
    }

    @Test(arguments: [[0, 0, 0, 0, 0, 0], [1, 2, 3, 1, 2, 3], [5, 5, 4, 3, 2, 1]], [true, false])
    func recordsWithRepeatedKeysAreReadByPosition(ids: [Int], withIndex: Bool) throws {
        let folder = try TemporaryFolder()
        _ = try write(ids, withIndex: withIndex, to: folder)
        let set = try RecordDataset(path: folder.path, options: gray2)
        #expect(try values(set) == [10, 20, 30, 40, 50, 60])
        #expect((0..<6).map { set.label(of: $0) } == [0, 0, 1, 1, 2, 2])
        #expect((0..<6).map { set.recordKey(of: $0) } == [0, 1, 2, 3, 4, 5])
        #expect(set.opening.notes.first?.contains("occurs twice") == true)
    }

    @Test func keysOrderTheSamples() throws {
        let folder = try TemporaryFolder()
        _ = try write([6, 5, 4, 3, 2, 1], withIndex: true, to: folder)
        let set = try RecordDataset(path: folder.path, options: gray2)
        #expect(try values(set) == [60, 50, 40, 30, 20, 10] && set.opening.notes.isEmpty)
    }

    /// An index that was cut at the end of a line is complete by itself: the records tell.
    @Test func anIndexThatNamesAPartIsFound() throws {
        let folder = try TemporaryFolder()
        let writer = try write([1, 2, 3, 4, 5, 6], withIndex: true, to: folder)
        let whole = try RecordDataset(path: folder.path, options: gray2)
        let lines = writer.index.split(separator: "\n")
        for kept in [[0, 1, 2], [], [3, 4, 5], [0, 2, 4]] {
            let text = kept.map { lines[$0] + "\n" }.joined()
            _ = try folder.write(Array(text.utf8), to: "train.idx")
            let error = try #require(throws: DatasetError.self) { try RecordDataset(path: folder.path, options: gray2) }
            #expect(error.message.contains("names only \(kept.count) of the 6 images"), "\(error)")
            let set = try RecordDataset(path: folder.path, options: skipping)
            #expect(try values(set) == [10, 20, 30, 40, 50, 60])
            #expect(set.fingerprint == whole.fingerprint)
            #expect(set.opening.notes.contains { $0.contains("names only \(kept.count)") })
        }
    }

    @Test func anIndexOfOtherRecordsIsFound() throws {
        let folder = try TemporaryFolder()
        _ = try write([1, 2, 3, 4, 5, 6], withIndex: false, to: folder)
        _ = try folder.write(Array("1\t4\n2\t5000\n".utf8), to: "train.idx")
        #expect(throws: DatasetError.self) { try RecordDataset(path: folder.path, options: gray2) }
        let set = try RecordDataset(path: folder.path, options: skipping)
        #expect(set.sampleCount == 6)
        #expect(set.problems.map(\.code) == [.malformedRecord, .truncatedRecord])
    }

    /// Without an index the next record is found by how records begin.
    @Test func damageCostsOneRecordWithoutAnIndexToo() throws {
        let folder = try TemporaryFolder()
        var bytes = try write([1, 2, 3, 4, 5, 6], withIndex: false, to: folder).file
        bytes[bytes.count / 6 * 2] ^= 0xFF
        _ = try folder.write(bytes, to: "train.rec")
        let set = try RecordDataset(path: folder.path, options: skipping)
        #expect(try values(set) == [10, 20, 40, 50, 60])
        #expect(set.problems.map(\.code) == [.malformedRecord])
    }

    /// Behind a damaged record the index tells where to go on.
    @Test func damageCostsOneRecord() throws {
        let folder = try TemporaryFolder()
        var bytes = try write([1, 2, 3, 4, 5, 6], withIndex: true, to: folder).file
        bytes[bytes.count / 2 / 4 * 4] ^= 0xFF  // in the third or fourth record
        let size = bytes.count / 6
        bytes[2 * size] ^= 0xFF
        _ = try folder.write(bytes, to: "train.rec")
        let set = try RecordDataset(path: folder.path, options: skipping)
        #expect((4...5).contains(set.sampleCount) && set.opening.leftOutSamples >= 1)
        let kept = try values(set)
        #expect(Set([10, 20, 50, 60]).isSubset(of: Set(kept)))
    }
}
