import Cluster
import Foundation
import ParameterStore
import TestSupport
import Testing

/// What a power cut leaves of a log of which it is known up to where it was synced.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SyncedMarkTests {
    typealias Fixture = StoreFixture

    private let segment = "/log/steps.000000000000.log"

    /// A log of six records of which the first three are synced: its bytes, and where each record begins.
    private func halfSynced(_ directory: String, sync: ShardStore.SyncMode = .never) throws -> (
        bytes: [UInt8], starts: [Int]
    ) {
        let store = try Fixture.store(directory, sync: sync)
        var starts: [Int] = []
        for step in 0..<6 {
            starts.append(max(16, store.logByteCount))
            try store.append(Fixture.record(step, size: 500))
            if step == 2 { try store.sync() }
        }
        return (try Fixture.bytes(directory + segment), starts)
    }

    /// A hole in what was not synced, whole records after it: the system writes pages in any order.
    @Test func aHoleAfterTheMarkIsATornTail() throws {
        for sync in [ShardStore.SyncMode.never, .interval] {
            for hole in 3..<6 {
                let folder = try TemporaryFolder()
                var (bytes, starts) = try halfSynced(folder.path, sync: sync)
                let end = hole < 5 ? starts[hole + 1] : bytes.count
                bytes.replaceSubrange(starts[hole] + 8..<end, with: repeatElement(0, count: end - starts[hole] - 8))
                try Fixture.overwrite(folder.path + segment, bytes)
                let store = try Fixture.store(folder.path, sync: sync)
                #expect(try Fixture.names(store) == (0..<hole).map { "\($0).0" }, "\(sync), hole in \(hole)")
                #expect(store.tornTail?.offset == starts[hole])
                #expect(store.tornTail?.byteCount == bytes.count - starts[hole])
                #expect(store.tornTail?.wasSynced == false)
                try store.append(Fixture.record(hole, attempt: 7))
                #expect(store.newestStep == hole)
            }
        }
    }

    /// A record that is all there with another bit, and has others after it, was not left so by a power cut.
    @Test func aFlippedBitAfterTheMarkIsDamage() throws {
        let folder = try TemporaryFolder()
        var (bytes, starts) = try halfSynced(folder.path)
        bytes[starts[4] + 400] ^= 16
        try Fixture.overwrite(folder.path + segment, bytes)
        let error = Fixture.error { _ = try Fixture.store(folder.path) }
        #expect(error?.code == .damaged)
        #expect(error?.message.contains("offset \(starts[4]) ") == true)
        // The last one cannot be told from a write that was interrupted.
        bytes[starts[4] + 400] ^= 16
        bytes[starts[5] + 400] ^= 16
        try Fixture.overwrite(folder.path + segment, bytes)
        #expect(try Fixture.names(Fixture.store(folder.path)).count == 5)
    }

    /// What was synced and is another record now was damaged, also where nothing comes after it.
    @Test func whatIsBrokenBeforeTheMarkIsDamage() throws {
        let folder = try TemporaryFolder()
        let (bytes, starts) = try halfSynced(folder.path)
        for (record, end) in [(0, bytes.count), (2, bytes.count), (2, starts[3])] {
            for offset in [starts[record] + 9, starts[record] + 60] {
                var damaged = Array(bytes[..<end])
                damaged[offset] ^= 4
                try Fixture.overwrite(folder.path + segment, damaged)
                let error = Fixture.error { _ = try Fixture.store(folder.path) }
                #expect(error?.code == .damaged)
                #expect(error?.message.contains("offset \(starts[record]) ") == true)
                #expect(try Fixture.bytes(folder.path + segment) == damaged, "nothing may be changed")
            }
        }
        try Fixture.overwrite(folder.path + segment, bytes)
        #expect(try Fixture.names(Fixture.store(folder.path)).count == 6)
    }

    /// The cluster goes back where a disk has lost the end of what it had promised to keep; it is said.
    @Test func aMissingEndIsCutOffAlthoughItWasSynced() throws {
        for zeros in [false, true] {
            let folder = try TemporaryFolder()
            let (bytes, starts) = try halfSynced(folder.path)
            let rest = bytes.count - starts[1]
            let left = Array(bytes[..<starts[1]]) + [UInt8](repeating: 0, count: zeros ? rest : 0)
            try Fixture.overwrite(folder.path + segment, left + (zeros ? [] : Array(bytes[starts[1]..<starts[1] + 30])))
            do {
                let store = try Fixture.store(folder.path)
                #expect(try Fixture.names(store) == ["0.0"])
                #expect(store.tornTail?.wasSynced == true)
                #expect(store.tornTail?.description.contains("although it was synced") == true)
                for step in 1..<4 { try store.append(Fixture.record(step, size: 500)) }
            }
            // The mark was taken back: what was appended since is a tail.
            var torn = try Fixture.bytes(folder.path + segment)
            torn.replaceSubrange(starts[2] + 8..<starts[3], with: repeatElement(0, count: starts[3] - starts[2] - 8))
            try Fixture.overwrite(folder.path + segment, torn)
            #expect(try Fixture.names(Fixture.store(folder.path)) == ["0.0", "1.0"])
        }
    }

    /// Several files were not synced: one is empty, one is missing, and the last is whole.
    @Test func filesAfterTheMarkMayBeMissing() throws {
        for lost in ["empty", "missing", "half"] {
            let folder = try TemporaryFolder()
            do {
                let store = try Fixture.store(folder.path, segmentByteLimit: 500)
                for step in 0..<8 { try store.append(Fixture.record(step)) }
            }
            let files = try Fixture.names(in: folder.path + "/log").map { folder.path + "/log/" + $0 }
            try #require(files.count > 3)
            switch lost {
            case "empty": try Fixture.overwrite(files[1], [])
            case "half": try Fixture.overwrite(files[1], Array(try Fixture.bytes(files[1]).prefix(200)))
            default: try FileManager.default.removeItem(atPath: files[1])
            }
            let store = try Fixture.store(folder.path, segmentByteLimit: 500)
            let names = try Fixture.names(store)
            #expect(!names.isEmpty && names.count < 8)
            #expect(names == (0..<names.count).map { "\($0).0" })
            #expect(store.tornTail != nil)
            for step in names.count..<8 { try store.append(Fixture.record(step, attempt: 1)) }
            #expect(store.newestStep == 7)
        }
    }

    /// Going back cuts what was synced: what is appended then is not.
    @Test func goingBackTakesTheMarkBack() throws {
        let folder = try TemporaryFolder()
        let (_, starts) = try halfSynced(folder.path)
        do {
            let store = try Fixture.store(folder.path)
            try store.sync()
            try store.truncate(after: 0)
            for step in 1..<5 { try store.append(Fixture.record(step, attempt: 1, size: 500)) }
        }
        var bytes = try Fixture.bytes(folder.path + segment)
        bytes.replaceSubrange(starts[2] + 8..<starts[3], with: repeatElement(0, count: starts[3] - starts[2] - 8))
        try Fixture.overwrite(folder.path + segment, bytes)
        #expect(try Fixture.names(Fixture.store(folder.path)) == ["0.0", "1.1"])
    }

    /// A mark of which one entry is spoilt, and one that is no mark at all.
    @Test func aDamagedMarkIsNoMark() throws {
        let folder = try TemporaryFolder()
        let (bytes, starts) = try halfSynced(folder.path)
        try Fixture.overwrite(folder.path + "/synced", [UInt8](repeating: 7, count: 5000))
        var damaged = bytes
        damaged.replaceSubrange(
            starts[4] + 8..<starts[5], with: repeatElement(0, count: starts[5] - starts[4] - 8))
        try Fixture.overwrite(folder.path + segment, damaged)
        #expect(Fixture.code { _ = try Fixture.store(folder.path) } == .damaged)
        try Fixture.overwrite(folder.path + segment, bytes)
        #expect(try Fixture.names(Fixture.store(folder.path)).count == 6)
    }

    /// Snapshots are installed, and a power cut takes everything of the log that came after them.
    @Test func snapshotsAloneAreTheirStep() throws {
        let folder = try TemporaryFolder()
        let shape = SliceShape(rowCount: 4, width: 2, chunkRows: 2)
        for isEmptied in [false, true] {
            let directory = "\(folder.path)/\(isEmptied)"
            do {
                let store = try Fixture.store(directory, sync: .interval, segmentByteLimit: 400)
                try store.own(starting: [.centers(0), .dense(0)], mapVersion: 1, step: -1)
                for step in 0..<6 { try store.append(Fixture.record(step)) }
                try store.sync()
                try store.install([
                    .centers(0): Fixture.snapshot(store, .centers(0), shape, steps: [5, 5], seed: 1),
                    .dense(0): Fixture.snapshot(
                        store, .dense(0), .init(rowCount: 2, width: 1, chunkRows: 2), steps: [5], seed: 2),
                ])
                try store.dropLog(before: store.oldestNeededStep)
                for step in 6..<9 { try store.append(Fixture.record(step)) }
            }
            for name in try Fixture.names(in: directory + "/log") {
                let path = directory + "/log/" + name
                if isEmptied {
                    try Fixture.overwrite(path, [])
                } else {
                    try FileManager.default.removeItem(atPath: path)
                }
            }
            let store = try Fixture.store(directory, sync: .interval, segmentByteLimit: 400)
            #expect(store.newestStep == 5)
            #expect(store.durableStep == 5)
            #expect(store.oldestRestorableStep == 5)
            try store.append(Fixture.record(6, attempt: 1))
            #expect(try Fixture.names(store).last == "6.1")
            #expect(store.newestStep == 6)
        }
    }

    /// Snapshots of pieces of different steps lead nowhere without the log between them.
    @Test func snapshotsOfDifferentStepsAreNone() throws {
        let folder = try TemporaryFolder()
        let shape = SliceShape(rowCount: 4, width: 2, chunkRows: 2)
        do {
            let store = try Fixture.store(folder.path)
            try store.own(starting: [.centers(0)], mapVersion: 1, step: -1)
            for step in 0..<6 { try store.append(Fixture.record(step)) }
            try store.install([.centers(0): Fixture.snapshot(store, .centers(0), shape, steps: [3, 5], seed: 1)])
        }
        try Fixture.overwrite(folder.path + segment, [])
        let store = try Fixture.store(folder.path)
        #expect(store.newestStep == -1)
        #expect(store.oldestRestorableStep == 5)
    }
}
