import Cluster
import Determinism
import Foundation
import ParameterStore
import Tensors
import TestSupport
import Testing

/// Copies of checkpoints, on file systems that fail at any point.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct BackupTests {
    typealias Fixture = StoreFixture

    /// A checkpoint of two slices and a file of a job; `seed` decides the class centers, `dense` the backbone.
    @discardableResult
    private func checkpoint(
        _ parent: String, step: Int, seed: UInt64 = 5, dense: Float = 1, fingerprint: String = "f",
        created: String? = nil
    ) throws -> CheckpointReader {
        let name = String(format: "step-%08d", step + 1)
        let directory = "\(parent)/\(name)"
        let table = try CenterTable(
            layout: SliceLayout(classCount: 11, sliceCount: 2), embeddingSize: 3, format: .f32, slices: [0, 1],
            source: .random(seed: seed), parallel: ParallelBlocks(threads: 1))
        let writer = CheckpointWriter(directory: directory)
        var files = try (0..<2).map { try writer.write(slice: $0, of: table) }
        files.append(
            try writer.write(denseSlice: 0, planes: [Tensor([dense, 2, 3] as [Float]), Tensor([4, 5, 6] as [Float])]))
        let job = Data("the network after step \(step)".utf8)
        try FileManager.default.createDirectory(atPath: directory + "/job", withIntermediateDirectories: true)
        try job.write(to: URL(fileURLWithPath: directory + "/job/model.pt"))
        try CheckpointManifest(
            step: step, classVersion: 0, operations: "[]", configuration: "seed: 5", fingerprint: fingerprint,
            sliceCount: 2, denseSliceCount: 1, classCount: 11, embeddingSize: 3, format: .f32,
            created: created ?? String(format: "2026-01-01T00:00:%02dZ", step), files: files,
            jobFiles: [.init(name: "job/model.pt", bytes: job.count)]
        ).write(to: directory)
        return try CheckpointReader(directory: directory)
    }

    private func inode(_ path: String) throws -> Int {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? NSNumber).intValue
    }

    /// Adds what is missing and returns the figures, newest first.
    private func back(_ source: String, _ target: String, keep: Int? = nil) throws -> [CheckpointCopy.Figures] {
        let backups = try BackupDirectory(target)
        let missing = backups.missing(of: try BackupDirectory.checkpoints(in: source).checkpoints, keeping: keep)
        try backups.clean(continuing: missing)
        let figures = try missing.map { try backups.add($0).figures }
        if let keep { _ = try backups.keep(keep) }
        return figures
    }

    private func complete(_ target: String) throws -> [String] {
        try BackupDirectory(target).backups.map { reader in
            #expect(reader.verify() == [])
            return URL(fileURLWithPath: reader.directory).lastPathComponent
        }
    }

    @Test func filesThatHaveNotChangedAreShared() throws {
        let folder = try TemporaryFolder()
        let (source, target) = (folder.path + "/run", folder.path + "/backups")
        try checkpoint(source, step: 1)
        #expect(try back(source, target).map(\.sharedFiles) == [0])
        try checkpoint(source, step: 2, dense: 7)
        let second = try back(source, target)
        #expect(second.map(\.sharedFiles) == [2] && second.map(\.copiedFiles) == [2])
        #expect(try back(source, target).isEmpty)
        #expect(try complete(target) == ["step-00000002", "step-00000003"])
        for (file, isShared) in [("slices/slice-00000", true), ("dense/dense-00000", false)] {
            let paths = ["2", "3"].map { "\(target)/step-0000000\($0)/\(file).safetensors" }
            #expect(try (inode(paths[0]) == inode(paths[1])) == isShared, "\(file)")
        }
        // What a job keeps has a hash from now on.
        let path = "\(target)/step-00000003/job/model.pt"
        var bytes = try Fixture.bytes(path)
        bytes[3] ^= 1
        try Fixture.overwrite(path, bytes)
        let problems = try CheckpointReader(directory: "\(target)/step-00000003").verify()
        #expect(problems.count == 1 && problems[0].contains(path))
    }

    @Test func aDamagedBackupIsNotShared() throws {
        let folder = try TemporaryFolder()
        let (source, target) = (folder.path + "/run", folder.path + "/backups")
        try checkpoint(source, step: 1)
        _ = try back(source, target)
        let path = "\(target)/step-00000002/slices/slice-00001.safetensors"
        var bytes = try Fixture.bytes(path)
        bytes[bytes.count - 60] ^= 8
        try Fixture.overwrite(path, bytes)
        try checkpoint(source, step: 2)
        let figures = try back(source, target)
        #expect(figures.map(\.sharedFiles) == [2] && figures.map(\.copiedFiles) == [2])
        #expect(figures[0].problems.count == 1 && figures[0].problems[0].contains(path))
        #expect(try CheckpointReader(directory: "\(target)/step-00000003").verify() == [])
    }

    @Test func aDamagedCheckpointIsRefusedByName() throws {
        let folder = try TemporaryFolder()
        let (source, target) = (folder.path + "/run", folder.path + "/backups")
        try checkpoint(source, step: 1)
        _ = try back(source, target)
        try checkpoint(source, step: 2, seed: 6)
        for file in ["slices/slice-00001.safetensors", "dense/dense-00000.safetensors"] {
            let path = "\(source)/step-00000003/\(file)"
            let bytes = try Fixture.bytes(path)
            // The backbone has not changed: only what has to be read is refused.
            let isRead = file.hasPrefix("slices")
            for place in [0, bytes.count / 2, bytes.count - 1] {
                var damaged = bytes
                damaged[place] ^= 1
                try Fixture.overwrite(path, damaged)
                let error = Fixture.error { _ = try back(source, target) }
                #expect((error?.code == .damaged) == isRead, "byte \(place) of \(file): \(error as Any)")
                #expect(!isRead || error?.message.contains(path) == true)
                #expect(try complete(target) == (isRead ? ["step-00000002"] : ["step-00000002", "step-00000003"]))
                #expect(!FileManager.default.fileExists(atPath: "\(target)/step-00000003.partial"))
            }
            try Fixture.overwrite(path, bytes)
            _ = try back(source, target)
        }
    }

    /// Every call to the disk fails once: earlier backups are whole, and the next time all is there.
    @Test(arguments: [DiskFaults.Call.write, .sync, .rename])
    func aDiskThatFailsAtAnyPoint(_ call: DiskFaults.Call) throws {
        let folder = try TemporaryFolder()
        let source = folder.path + "/run"
        try checkpoint(source, step: 1)
        var failures = 0
        for place in 0..<40 {
            let target = "\(folder.path)/\(call.rawValue)-\(place)"
            try? FileManager.default.removeItem(atPath: source + "/step-00000003")
            _ = try back(source, target)
            try checkpoint(source, step: 2, seed: 9)
            // The first `place` calls succeed: a rule that fails with 0 lets them pass.
            if place > 0 { DiskFaults.shared.add(.init(call, path: target, error: 0, count: place)) }
            DiskFaults.shared.add(.init(call, path: target, error: ENOSPC))
            let error = Fixture.error { _ = try back(source, target) }
            DiskFaults.shared.remove(path: target)
            guard let error else { continue }
            failures += 1
            #expect(failures == place + 1, "a failure was not heard of")
            #expect(error.code == .diskFull && error.message.contains(target), "\(error)")
            let names = try complete(target)
            #expect(names.first == "step-00000002")
            _ = try back(source, target)
            #expect(try complete(target) == ["step-00000002", "step-00000003"])
            #expect(try Fixture.names(in: target) == ["lock", "step-00000002", "step-00000003"])
        }
        #expect(failures >= 3 && failures < 40, "\(failures)")
    }

    @Test func whatIsUnfinishedIsContinuedOrRemoved() throws {
        let folder = try TemporaryFolder()
        let (source, target) = (folder.path + "/run", folder.path + "/backups")
        try checkpoint(source, step: 1)
        let whole = try Fixture.bytes("\(source)/step-00000002/slices/slice-00000.safetensors")
        // As an interrupted copy leaves it: one file whole, one torn, one without its name; and another checkpoint that is gone since.
        let partial = "backups/step-00000002.partial"
        _ = try folder.write(whole, to: "\(partial)/slices/slice-00000.safetensors")
        _ = try folder.write(Array(whole.prefix(99)), to: "\(partial)/slices/slice-00001.safetensors")
        for file in ["slices/slice-00000", "dense/dense-00000"] {
            _ = try folder.write([1], to: "\(partial)/\(file).safetensors.partial")
        }
        _ = try folder.write([1], to: "\(partial)/job/old.pt")
        _ = try folder.write(whole, to: "backups/step-00000009.partial/slices/slice-00000.safetensors")
        // Half removed.
        _ = try folder.write(whole, to: "backups/step-00000001/slices/slice-00000.safetensors")
        let before = try inode("\(folder.path)/\(partial)/slices/slice-00000.safetensors")
        let figures = try back(source, target)
        #expect(figures.map(\.sharedFiles) == [1] && figures.map(\.copiedFiles) == [3])
        #expect(try inode("\(target)/step-00000002/slices/slice-00000.safetensors") == before)
        #expect(try Fixture.names(in: target) == ["lock", "step-00000002"])
        #expect(try Fixture.names(in: "\(target)/step-00000002/job") == ["model.pt"])
        for (folder, count) in [("slices", 2), ("dense", 1)] {
            let names = try Fixture.names(in: "\(target)/step-00000002/\(folder)")
            #expect(names.count == count && names.allSatisfy { $0.hasSuffix(".safetensors") }, "\(names)")
        }
        #expect(try complete(target) == ["step-00000002"])
    }

    @Test func soManyAreKeptAndNoneIsCopiedToBeRemoved() throws {
        let folder = try TemporaryFolder()
        let (source, target) = (folder.path + "/run", folder.path + "/backups")
        for step in 1...4 { try checkpoint(source, step: step, seed: UInt64(step)) }
        #expect(try back(source, target, keep: 2).count == 2)
        #expect(try complete(target) == ["step-00000004", "step-00000005"])
        #expect(try back(source, target, keep: 2).isEmpty)
        // Back to step 1 and on: the newest is what was written last, whatever its step.
        for step in 2...4 { try FileManager.default.removeItem(atPath: "\(source)/step-0000000\(step + 1)") }
        try checkpoint(source, step: 4, seed: 77, created: "2026-01-01T01:00:00Z")
        #expect(try back(source, target, keep: 2).count == 1)
        #expect(try complete(target) == ["step-00000005", "step-00000005-2"])
        #expect(try BackupDirectory(target).backups.last?.manifest.created == "2026-01-01T01:00:00Z")
    }

    @Test func oneAtATimeAndOfOneRun() throws {
        let folder = try TemporaryFolder()
        let (source, target) = (folder.path + "/run", folder.path + "/backups")
        try checkpoint(source, step: 1)
        do {
            let first = try BackupDirectory(target)
            let error = Fixture.error { _ = try BackupDirectory(target) }
            #expect(error?.code == .locked && error?.message.contains("another backup is under way") == true)
            withExtendedLifetime(first) {}
        }
        _ = try back(source, target)
        let other = try checkpoint(folder.path + "/other", step: 3, fingerprint: "g")
        let error = Fixture.error { _ = try BackupDirectory(target).add(other) }
        #expect(error?.code == .foreign && error?.message.contains(other.directory) == true)
        #expect(try complete(target) == ["step-00000002"])
    }

    @Test func whatIsNoCheckpointOfThePresentIsLeftOut() throws {
        let folder = try TemporaryFolder()
        let (source, target) = (folder.path + "/run", folder.path + "/backups")
        try checkpoint(source, step: 1)
        for suffix in [".abandoned", ".abandoned-2", ".partial"] {
            try FileManager.default.copyItem(
                atPath: "\(source)/step-00000002", toPath: "\(source)/step-00000003\(suffix)")
        }
        #expect(try back(source, target).count == 1)
        #expect(try complete(target) == ["step-00000002"])
    }
}
