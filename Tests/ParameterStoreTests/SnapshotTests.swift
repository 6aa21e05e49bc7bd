import Cluster
import Foundation
import ParameterStore
import Tensors
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SnapshotTests {
    typealias Fixture = StoreFixture

    private let shape = SliceShape(rowCount: 5, width: 2, chunkRows: 2)
    private let vector = SliceShape(rowCount: 7, width: 1, chunkRows: 3)

    @Test func piecesComeBackWithTheirSteps() throws {
        let folder = try TemporaryFolder()
        var path = ""
        do {
            let store = try Fixture.store(folder.path)
            try store.own(starting: [.centers(4), .dense(1)], mapVersion: 3, step: -1, extra: "task 7")
            let first = try Fixture.snapshot(store, .centers(4), shape, steps: [0, 0, 0], seed: 9)
            try store.install([.centers(4): first])
            let second = try Fixture.snapshot(store, .centers(4), shape, steps: [5, 3, 4], seed: 1)
            let dense = try Fixture.snapshot(store, .dense(1), vector, steps: [5, 5, 6], seed: 2)
            try store.install([.centers(4): second, .dense(1): dense])
            #expect(second.minStep == 3 && second.maxStep == 5)
            #expect(try Fixture.names(in: folder.path + "/snapshots") == [dense.file, second.file].sorted())
            path = folder.path + "/snapshots/" + second.file
        }
        let store = try Fixture.store(folder.path)
        #expect(store.owned.map(\.slice) == [.centers(4), .dense(1)])
        #expect(store.mapVersion == 3)
        #expect(store.extra == "task 7")
        #expect(store.oldestRestorableStep == 6)
        #expect(store.oldestNeededStep == 4)
        for (entry, seed) in zip(store.owned, [1, 2] as [UInt64]) {
            let reader = try store.openSnapshot(try #require(entry.source.snapshot), of: entry.slice)
            #expect(reader.chunkSteps == (entry.slice.isDense ? [5, 5, 6] : [5, 3, 4]))
            let contents = try Fixture.contents(reader)
            #expect(contents.rows == Fixture.values(reader.shape.byteCounts.rows, seed: seed))
            #expect(contents.momentum == Fixture.values(reader.shape.byteCounts.momentum, seed: seed + 1))
        }
        // Any safetensors reader reads it.
        let file = try SafeTensors(contentsOf: path)
        #expect(file.tensors["rows"]?.shape == [5, 2])
        #expect(file.tensors["chunk_steps"]?.array(Int64.self) == [5, 3, 4])
    }

    @Test(arguments: StoreFixture.formats) func everyFormatComesBack(format: TableFormat) throws {
        let folder = try TemporaryFolder()
        let store = try Fixture.store(folder.path)
        try store.own(starting: [.centers(0)], mapVersion: 1, step: -1)
        let shape = SliceShape(rowCount: 5, width: 3, chunkRows: 2, format: format)
        let reference = try Fixture.snapshot(store, .centers(0), shape, steps: [1, 2, 1], seed: 3)
        try store.install([.centers(0): reference])
        let known = try #require(store.owned[0].source.snapshot)
        #expect(known.shape.format == format)
        let reader = try store.openSnapshot(known, of: .centers(0))
        try reader.verify()
        let contents = try Fixture.contents(reader)
        #expect(contents.rows == Fixture.values(shape.byteCounts.rows, seed: 3))
        #expect(contents.momentum == Fixture.values(shape.byteCounts.momentum, seed: 4))
        let file = try SafeTensors(contentsOf: folder.path + "/snapshots/" + reference.file)
        #expect(file.tensors["rows"]?.dtype == format.rows.dtype)
        #expect(file.tensors["momentum"]?.dtype == format.momentum.dtype)
        #expect(file.tensors["momentum"]?.shape == [5, [.int8: 8, .none: 0][format.momentum] ?? 3])
        // A file of another format than the manifest's is not what was written.
        var other = reference
        other.shape.format.momentum = format.momentum == .int8 ? .bf16 : .int8
        #expect(Fixture.code { _ = try store.openSnapshot(other, of: .centers(0)) } == .damaged)
        // The values of the backbone are f32, and no number of it has a scale of its own.
        if format.rows != .f32 || [.int8, .none].contains(format.momentum) {
            #expect(Fixture.code { _ = try store.beginSnapshot(.dense(0), shape: shape) } == .layout)
        }
    }

    /// Manifests of earlier versions have no format.
    @Test func aShapeWithoutAFormatIsF32() throws {
        let text = #"{"rowCount": 5, "width": 2, "chunkRows": 2}"#
        #expect(try JSONDecoder().decode(SliceShape.self, from: Data(text.utf8)) == shape)
        let written = SliceShape(rowCount: 5, width: 2, chunkRows: 2, format: .init(rows: .bf16, momentum: .int8))
        #expect(try JSONDecoder().decode(SliceShape.self, from: JSONEncoder().encode(written)) == written)
    }

    @Test func unfinishedAndUnownedSnapshotsLeaveNothing() throws {
        let folder = try TemporaryFolder()
        let store = try Fixture.store(folder.path)
        do {
            let writer = try store.beginSnapshot(.centers(0), shape: shape)
            #expect(writer.missingChunks == [0, 1, 2])
            #expect(Fixture.code { _ = try writer.finish() } == .layout)
        }
        #expect(try Fixture.names(in: folder.path + "/snapshots") == [])
        let reference = try Fixture.snapshot(store, .centers(0), shape, steps: [1, 1, 1], seed: 1)
        try store.install([.centers(0): reference])
        #expect(try Fixture.names(in: folder.path + "/snapshots") == [])
    }

    @Test func aFlippedBitNeverPasses() throws {
        let folder = try TemporaryFolder()
        let store = try Fixture.store(folder.path)
        let reference = try Fixture.snapshot(store, .centers(0), shape, steps: [1, 2, 1], seed: 1)
        let path = folder.path + "/snapshots/" + reference.file
        let bytes = try Fixture.bytes(path)
        for offset in bytes.indices {
            var damaged = bytes
            damaged[offset] ^= 1 << UInt8(offset % 8)
            try Fixture.overwrite(path, damaged)
            let error = Fixture.error {
                _ = try Fixture.contents(try store.openSnapshot(reference, of: .centers(0)))
            }
            try #require(error?.code == .damaged, "bit at \(offset)")
            try #require(error?.message.contains("\(path): damaged at offset ") == true)
            try #require(error?.message.contains("restore a checkpoint") == true)
        }
        for length in [0, 7, 100, bytes.count - 1] {
            try Fixture.overwrite(path, Array(bytes[..<length]))
            #expect(Fixture.code { _ = try store.openSnapshot(reference, of: .centers(0)) } == .damaged)
        }
    }

    @Test func receivedSlicesOutliveARestartAndAreAdopted() throws {
        let folder = try TemporaryFolder()
        func records(_ store: ShardStore, _ slice: SliceName) throws -> [String] {
            try Fixture.texts(store.records(receivedWith: slice, after: 2))
        }
        do {
            let store = try Fixture.store(folder.path)
            let receipts = try [SliceName.centers(1), .centers(2), .dense(0)].map {
                try store.beginReceiving($0, shape: shape)
            }
            for receipt in receipts {
                try Fixture.write(shape, [4, 3, 2], 5) {
                    try receipt.write(chunk: $0, step: $1, planes: [$2, $3])
                }
                for step in 3..<6 { try receipt.append(Fixture.record(step)) }
            }
            try store.keep(Array(receipts[..<2]), step: 5)
            try receipts[0].append(Fixture.record(6))
            try store.keep([receipts[0]], step: 6)
            #expect(store.received.map(\.step) == [6, 5])
        }
        do {
            // The third was not kept.
            let store = try Fixture.store(folder.path)
            #expect(store.received.map(\.slice) == [.centers(1), .centers(2)])
            #expect(try Fixture.names(in: folder.path + "/snapshots").count == 2)
            #expect(try Fixture.names(in: folder.path + "/received").count == 2)
            #expect(Fixture.code { try store.own(adopting: [.dense(0)], mapVersion: 2, step: 6) } == .notHeld)
            try store.forgetReceived([.centers(2)])
            try store.own(adopting: [.centers(1)], mapVersion: 2, step: 6)
            try store.append(Fixture.record(7))
        }
        let store = try Fixture.store(folder.path)
        #expect(store.newestStep == 7)
        #expect(store.oldestRestorableStep == 4)
        #expect(store.received.isEmpty)
        #expect(try records(store, .centers(1)) == (3..<7).map { Fixture.text(Fixture.record($0)) })
        try store.truncate(after: 5)
        #expect(store.newestStep == 5)
        #expect(try records(store, .centers(1)) == (3..<6).map { Fixture.text(Fixture.record($0)) })
        let snapshot = try Fixture.snapshot(store, .centers(1), shape, steps: [5, 5, 5], seed: 6)
        try store.install([.centers(1): snapshot])
        #expect(try records(store, .centers(1)) == [])
        #expect(try Fixture.names(in: folder.path + "/received") == [])
        try store.own(dropping: [.centers(1)], mapVersion: 3, step: 5)
        #expect(try Fixture.names(in: folder.path + "/snapshots") == [])
    }

    @Test func returningToACheckpointForgetsEverythingElse() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try Fixture.store(folder.path)
            try store.own(starting: [.centers(0), .centers(1)], mapVersion: 1, step: -1)
            for step in 0..<6 { try store.append(Fixture.record(step)) }
            let snapshot = try Fixture.snapshot(store, .centers(2), shape, steps: [3, 3, 3], seed: 1)
            try store.replaceAll(with: [.centers(2): .snapshot(snapshot)], step: 3, mapVersion: 4)
            #expect(store.newestStep == 3)
            #expect(try Fixture.names(store) == [])
            try store.append(Fixture.record(4, attempt: 9))
        }
        let store = try Fixture.store(folder.path)
        #expect(store.owned.map(\.slice) == [.centers(2)])
        #expect(try Fixture.names(store) == ["4.9"])
        #expect(store.newestStep == 4 && store.mapVersion == 4)
    }
}
