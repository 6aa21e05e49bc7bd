import Cluster
import Foundation
import ParameterStore
import TestSupport
import Testing

/// A disk that fails now and then. After a failed sync the system counts as written what it has dropped.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct MendingTests {
    typealias Fixture = StoreFixture

    private let shape = SliceShape(rowCount: 512, width: 64, chunkRows: 128)

    private func inject(
        _ call: DiskFaults.Call, _ path: String, _ error: Int32, count: Int = 1,
        effect: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        DiskFaults.shared.add(.init(call, path: path, error: error, count: count, effect: effect))
    }

    private func inode(_ path: String) throws -> UInt64 {
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        return try #require((attributes[.systemFileNumber] as? NSNumber)?.uint64Value)
    }

    /// One failure is made good at once, in another file; later ones too.
    @Test(arguments: [EIO, ENOSPC]) func aFileThatCouldNotBeSyncedIsWrittenAnew(error: Int32) throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        let path = folder.path + "/log/steps.000000000000.log"
        for mode in [ShardStore.SyncMode.always, .interval] {
            let store = try Fixture.store(folder.path, sync: mode)
            let first = store.newestStep + 1
            try store.append(Fixture.record(first))
            try store.sync()
            let file = try inode(path)
            inject(.sync, folder.path + "/log/steps", error)
            try store.append(Fixture.record(first + 1))
            try store.sync()
            #expect(try inode(path) != file, "\(mode): no later sync of the same file says anything")
            #expect(store.durableStep == first + 1)
            #expect(store.syncProblem == nil)
            #expect(store.syncIncidents.count == 1)
            #expect(store.syncIncidents.last.contains(path))
            try store.append(Fixture.record(first + 2))
            #expect(try Fixture.names(store) == (0...first + 2).map { "\($0).0" })
        }
        #expect(try Fixture.names(Fixture.store(folder.path)) == (0..<6).map { "\($0).0" })
    }

    /// The thread that syncs every interval meets the failure: the next append, or the next look after things, makes it good.
    @Test func aFailureInTheBackgroundIsMended() throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        let store = try ShardStore(directory: folder.path, sync: .interval, syncInterval: .milliseconds(1))
        try store.adopt(Fixture.identity)
        for step in [0, 2] {
            inject(.sync, folder.path + "/log/steps", EIO)
            try store.append(Fixture.record(step))
            let deadline = ContinuousClock.now + .seconds(60)
            while store.syncProblem == nil && ContinuousClock.now < deadline { Thread.sleep(forTimeInterval: 0.001) }
            #expect(store.syncProblem?.contains("cannot be synced") == true)
            if step == 0 {
                try store.tend()
                #expect(store.syncProblem == nil && store.durableStep == 0)
            }
            try store.append(Fixture.record(step + 1))
            #expect(store.syncProblem == nil && store.durableStep >= step)
        }
        #expect(store.syncIncidents.count == 2)
        #expect(try Fixture.names(store) == (0..<4).map { "\($0).0" })
    }

    /// A disk that goes on failing: the step waits, the problem is said, and both end with their cause.
    @Test func aLastingFailureLastsAsLongAsItsCause() throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        let store = try Fixture.store(folder.path, sync: .always)
        try store.append(Fixture.record(0))
        inject(.sync, folder.path, EIO, count: 1000)
        for _ in 0..<3 {
            #expect(Fixture.code { try store.append(Fixture.record(1)) } == .io)
            #expect(store.syncProblem != nil && store.durableStep == 0)
            #expect(Fixture.code { try store.tend() } == .io)
        }
        DiskFaults.shared.remove(path: folder.path)
        try store.append(Fixture.record(1))
        #expect(store.syncProblem == nil && store.durableStep == 1)
        #expect(try Fixture.names(store) == ["0.0", "1.0"])
        #expect(try Fixture.names(in: folder.path + "/log").count == 1, "nothing may be left behind")
    }

    /// What the system has dropped cannot be written anew: it is noticed.
    @Test func aRecordThatIsLostIsNoticed() throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        do {
            let store = try Fixture.store(folder.path, sync: .interval)
            for step in 0..<3 { try store.append(Fixture.record(step)) }
            try store.sync()
            let end = store.logByteCount
            inject(.sync, folder.path + "/log/steps", EIO) { path in
                // The page goes back to what the disk has.
                let handle = FileHandle(forUpdatingAtPath: path)
                try? handle?.seek(toOffset: UInt64(end))
                try? handle?.write(contentsOf: Data(count: 100))
                try? handle?.close()
            }
            try store.append(Fixture.record(3))
            #expect(Fixture.code { try store.sync() } == .damaged)
            #expect(store.isLogLost && store.durableStep == 2)
            #expect(Fixture.code { try store.append(Fixture.record(4)) } == .damaged)
        }
        let store = try Fixture.store(folder.path, sync: .interval)
        #expect(!store.isLogLost)
        #expect(try Fixture.names(store) == ["0.0", "1.0", "2.0"])
    }

    /// The new file has its name, and the directory cannot be synced: that is done again.
    @Test func aDirectoryThatCouldNotBeSyncedIsSyncedLater() throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        let store = try Fixture.store(folder.path, sync: .always)
        try store.append(Fixture.record(0))
        inject(.sync, folder.path + "/log/steps", EIO)
        inject(.sync, folder.path + "/log/", EIO)
        #expect(Fixture.code { try store.append(Fixture.record(1)) } == .io)
        try store.append(Fixture.record(1))
        #expect(store.durableStep == 1)
    }

    /// A snapshot that could not be synced is written anew, from pieces whose checksums are right.
    @Test func aSnapshotThatCouldNotBeSyncedIsWrittenAnew() throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        let store = try Fixture.store(folder.path)
        try store.own(starting: [.centers(0)], mapVersion: 1, step: -1)
        let writer = try store.beginSnapshot(.centers(0), shape: shape)
        try Fixture.write(shape, [4, 4, 4, 4], 1) { try writer.write(chunk: $0, step: $1, planes: [$2, $3]) }
        inject(.sync, folder.path + "/snapshots/slice", EIO)
        #expect(Fixture.code { _ = try writer.finish() } == .io)
        let partial = try #require(try Fixture.names(in: folder.path + "/snapshots").first)
        let file = try inode(folder.path + "/snapshots/" + partial)
        let reference = try writer.finish()
        #expect(try inode(folder.path + "/snapshots/" + reference.file) != file)
        try store.install([.centers(0): reference])
        let read = try Fixture.contents(store.openSnapshot(reference, of: .centers(0)))
        #expect(read.rows == Fixture.values(shape.byteCounts.rows, seed: 1))
        #expect(read.momentum == Fixture.values(shape.byteCounts.momentum, seed: 2))
        #expect(try Fixture.names(in: folder.path + "/snapshots") == [reference.file])
    }

    /// The same for the records that come with a slice.
    @Test func aCopyThatCouldNotBeSyncedIsWrittenAnew() throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        do {
            let store = try Fixture.store(folder.path)
            let receipt = try store.beginReceiving(.centers(3), shape: shape)
            try Fixture.write(shape, [4, 4, 4, 4], 1) { try receipt.write(chunk: $0, step: $1, planes: [$2, $3]) }
            try receipt.append(Fixture.record(5, size: 500))
            inject(.sync, folder.path + "/received/slice", EIO)
            #expect(Fixture.code { try store.keep([receipt], step: 5) } == .io)
            let log =
                folder.path + "/received/" + (try #require(try Fixture.names(in: folder.path + "/received").first))
            let file = try inode(log)
            try store.keep([receipt], step: 5)
            #expect(try inode(log) != file)
            try receipt.append(Fixture.record(6, size: 500))
            try receipt.append(Fixture.record(7, size: 500))
        }
        // What came after it was kept may have holes.
        let log = folder.path + "/received/" + (try #require(try Fixture.names(in: folder.path + "/received").first))
        var bytes = try Fixture.bytes(log)
        let size = (bytes.count - 16) / 3
        bytes.replaceSubrange(16 + size + 8..<16 + 2 * size, with: repeatElement(0, count: size - 8))
        try Fixture.overwrite(log, bytes)
        let store = try Fixture.store(folder.path)
        #expect(store.received.map(\.step) == [5])
        let texts = try Fixture.texts(store.records(receivedWith: .centers(3), after: 4))
        #expect(texts == [Fixture.text(Fixture.record(5, size: 500))])
    }
}
