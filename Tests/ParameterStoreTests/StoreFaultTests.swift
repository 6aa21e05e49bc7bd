import Cluster
import Foundation
import ParameterStore
import TestSupport
import Testing

@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct StoreFaultTests {
    typealias Fixture = StoreFixture

    private let shape = SliceShape(rowCount: 512, width: 64, chunkRows: 128)

    @Test func theSecondUserOfADirectoryIsRefused() throws {
        let folder = try TemporaryFolder()
        do {
            let store = try Fixture.store(folder.path)
            let error = Fixture.error { _ = try Fixture.store(folder.path) }
            #expect(error?.code == .locked)
            #expect(error?.message.contains("process \(ProcessInfo.processInfo.processIdentifier)") == true)
            try store.append(Fixture.record(0))
        }
        #expect(try Fixture.store(folder.path).newestStep == 0)
    }

    @Test func anotherOnesDirectoryIsRefused() throws {
        let folder = try TemporaryFolder()
        let store = try ShardStore(directory: folder.path, sync: .never)
        #expect(Fixture.code { try store.append(Fixture.record(0)) } == .foreign)
        try store.adopt(Fixture.identity)
        var other = Fixture.identity
        other.member = 9
        try store.adopt(other)
        try store.own(starting: [.centers(0)], mapVersion: 1, step: -1)
        #expect(Fixture.code { try store.adopt(Fixture.identity) } == .foreign)
        other.clusterID = "another"
        #expect(Fixture.error { try store.adopt(other) }?.message.contains("cluster another") == false)
        #expect(Fixture.error { try store.adopt(other) }?.message.contains("not another") == true)
    }

    @Test func whatACrashLeftBehindIsRemoved() throws {
        let folder = try TemporaryFolder()
        do { try Fixture.store(folder.path).append(Fixture.record(0)) }
        let leftovers = [
            "snapshots/slice-1.4.safetensors", "snapshots/slice-1.5.safetensors.partial",
            "received/slice-1.6.000000000000.log", "manifest.json.partial",
        ]
        for name in leftovers { _ = try folder.write([1, 2, 3], to: name) }
        _ = try folder.write([1], to: "snapshots/notes.txt")
        let store = try Fixture.store(folder.path)
        #expect(store.newestStep == 0)
        for name in leftovers { #expect(!FileManager.default.fileExists(atPath: folder.path + "/" + name)) }
        #expect(FileManager.default.fileExists(atPath: folder.path + "/snapshots/notes.txt"))
    }

    @Test func aDamagedManifestIsRefused() throws {
        let folder = try TemporaryFolder()
        do { try Fixture.store(folder.path).append(Fixture.record(0)) }
        let path = folder.path + "/manifest.json"
        let bytes = try Fixture.bytes(path)
        for offset in bytes.indices {
            var damaged = bytes
            damaged[offset] ^= 1 << UInt8(offset % 8)
            try Fixture.overwrite(path, damaged)
            try #require(Fixture.code { _ = try Fixture.store(folder.path) } == .damaged, "bit at \(offset)")
        }
        try FileManager.default.removeItem(atPath: path)
        #expect(Fixture.code { _ = try Fixture.store(folder.path) } == .damaged)
        try Fixture.overwrite(path, bytes)
        #expect(try Fixture.store(folder.path).newestStep == 0)
    }

    /// A directory in the place of a file: opening or reading it fails.
    @Test func readErrorsAreReported() throws {
        for name in ["manifest.json", "lock", "log/steps.000000000000.log"] {
            let folder = try TemporaryFolder()
            try FileManager.default.createDirectory(
                atPath: folder.path + "/" + name, withIntermediateDirectories: true)
            let error = Fixture.error { _ = try Fixture.store(folder.path) }
            #expect(error?.code == .io, "\(name): \(String(describing: error))")
            #expect(error?.message.contains(folder.path + "/" + name) == true)
        }
        let folder = try TemporaryFolder()
        let store = try Fixture.store(folder.path)
        let reference = try Fixture.snapshot(
            store, .dense(0), .init(rowCount: 2, width: 1, chunkRows: 2), steps: [0], seed: 1)
        try FileManager.default.removeItem(atPath: folder.path + "/snapshots/" + reference.file)
        #expect(Fixture.code { _ = try store.openSnapshot(reference, of: .dense(0)) } == .io)
        try store.own(starting: [.dense(0)], mapVersion: 1, step: -1)
        try store.install([.dense(0): reference])
    }

    @Test func aMissingSnapshotIsRefused() throws {
        let folder = try TemporaryFolder()
        var path = ""
        do {
            let store = try Fixture.store(folder.path)
            try store.own(starting: [.centers(0)], mapVersion: 1, step: -1)
            let reference = try Fixture.snapshot(store, .centers(0), shape, steps: [0, 0, 0, 0], seed: 1)
            try store.install([.centers(0): reference])
            path = folder.path + "/snapshots/" + reference.file
        }
        try FileManager.default.removeItem(atPath: path)
        let error = Fixture.error { _ = try Fixture.store(folder.path) }
        #expect(error?.code == .damaged)
        #expect(error?.message.contains(path) == true)
    }

    /// A file system of one megabyte that fills up, and then has room again. Needs the right to mount.
    @Test func aFullDiskDamagesNothing() throws {
        let folder = try TemporaryFolder()
        guard mount(folder.path, options: "size=1m") else { return print("skipped: a tmpfs cannot be mounted here") }
        defer { unmount(folder.path) }
        let (path, ballast) = (folder.path + "/shard", folder.path + "/ballast")
        try Fixture.overwrite(ballast, [UInt8](repeating: 1, count: 400_000))
        var written: [String] = []
        do {
            let store = try Fixture.store(path, sync: .always, segmentByteLimit: 200_000)
            try store.own(starting: [.centers(0)], mapVersion: 1, step: -1)
            var refused: CenterStoreError?
            while refused == nil && written.count < 1000 {
                let record = Fixture.record(written.count, size: 5000)
                refused = Fixture.error { try store.append(record) }
                if refused == nil { written.append(Fixture.text(record)) }
            }
            #expect(refused?.code == .diskFull)
            #expect(written.count > 5)
            let length = store.logByteCount
            for _ in 0..<3 {
                #expect(Fixture.code { try store.append(Fixture.record(written.count, size: 5000)) } == .diskFull)
            }
            #expect(store.logByteCount == length)
            #expect(store.durableStep == written.count - 1)
            #expect(try Fixture.texts(store.records(after: -1)) == written)
            // Neither a snapshot nor a manifest is harmed.
            let writer = Fixture.error {
                _ = try Fixture.snapshot(store, .centers(0), shape, steps: [1, 1, 1, 1], seed: 1)
            }
            #expect(writer?.code == .diskFull)
            #expect(Fixture.code { try store.setExtra(String(repeating: "x", count: 200_000)) } == .diskFull)
            #expect(store.extra == "")
        }
        do {
            // It opens on a full disk, and goes on when there is room.
            let store = try Fixture.store(path, sync: .always, segmentByteLimit: 200_000)
            #expect(try Fixture.texts(store.records(after: -1)) == written)
            try FileManager.default.removeItem(atPath: ballast)
            let record = Fixture.record(written.count, size: 5000)
            try store.append(record)
            written.append(Fixture.text(record))
        }
        #expect(try Fixture.texts(Fixture.store(path).records(after: -1)) == written)
    }

    /// Root may write anywhere but on a read-only file system.
    @Test func aReadOnlyDirectoryIsReported() throws {
        let folder = try TemporaryFolder()
        guard mount(folder.path, options: "size=1m") else { return print("skipped: a tmpfs cannot be mounted here") }
        defer { unmount(folder.path) }
        do { try Fixture.store(folder.path + "/shard").append(Fixture.record(0)) }
        #expect(run("/bin/mount", "-o", "remount,ro", folder.path))
        for name in ["/shard", "/another"] {
            let error = Fixture.error { _ = try Fixture.store(folder.path + name) }
            #expect(error?.code == .io)
            #expect(error?.message.contains("give this process the right to write") == true)
        }
    }

    private func mount(_ path: String, options: String) -> Bool {
        run("/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", path)
    }

    private func unmount(_ path: String) { _ = run("/bin/umount", path) }

    private func run(_ program: String, _ arguments: String...) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}
