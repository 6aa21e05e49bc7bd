import Cluster
import Foundation
import ParameterStore
import Setup
import ShardModel
import StepProtocol
import TestSupport
import Testing

/// Disks that fail while a shard trains: it is said, tried again, over when its cause is, and leaves nothing behind.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct DiskTroubleTests {
    /// Steps until something holds that a thread of the model brings about.
    private func step(_ shard: SteppingShard, until isDone: () -> Bool) throws {
        let deadline = ContinuousClock.now + .seconds(120)
        while !isDone() && ContinuousClock.now < deadline {
            try shard.step()
            shard.model.tend()
        }
        try #require(isDone())
    }

    private func files(_ directory: String) throws -> (present: [String], named: Int) {
        let names = try FileManager.default.contentsOfDirectory(atPath: directory + "/snapshots").sorted()
        let manifest = try String(contentsOfFile: directory + "/manifest.json", encoding: .utf8)
        return (names, names.count { manifest.contains("\"\($0)\"") })
    }

    @Test func snapshotsThatFailAreTriedAgain() throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        let setup = try SteppingShard.setup(slices: 8)
        let shard = try SteppingShard(setup, SteppingShard.store(folder.path))
        try step(shard) { shard.model.snapshotStep >= 0 }
        #expect(shard.model.diskProblem.isEmpty && shard.model.diskIncidents.count == 0)
        for call in [DiskFaults.Call.sync, .write, .open, .rename] {
            let incidents = shard.model.diskIncidents.count
            DiskFaults.shared.add(.init(call, path: folder.path + "/snapshots/", error: EIO, count: .max))
            try step(shard) { !shard.model.diskProblem.isEmpty && shard.model.diskIncidents.count > incidents + 1 }
            #expect(shard.model.diskProblem.contains("no snapshot can be written"), "\(call)")
            #expect(shard.model.diskIncidents.last.contains("/snapshots/"))
            DiskFaults.shared.remove(path: folder.path)
            let last = shard.model.snapshotStep
            try step(shard) { shard.model.snapshotStep > last && shard.model.diskProblem.isEmpty }
        }
        let (names, named) = try files(folder.path)
        // A round may be under way, with at most one file for every slice.
        #expect(named == 9 && names.count <= 18, "\(names)")
    }

    /// Rounds that are given up, because classes change, leave nothing behind.
    @Test func roundsThatAreGivenUpLeaveNothing() throws {
        let folder = try TemporaryFolder()
        let setup = try SteppingShard.setup(slices: 8)
        let shard = try SteppingShard(setup, SteppingShard.store(folder.path))
        for version in 0..<6 {
            // A round is finished that waits to be installed, for nobody has heard yet that its step is safe.
            try step(shard) { shard.model.snapshotStep >= version * 2 - 1 }
            let task = BoundaryTask(
                number: version + 1, step: shard.model.committed, kind: .classes(.add(count: 1, path: "")))
            var plan = Plan(
                id: StepID(step: shard.model.committed + 1, attempt: 0), committed: shard.model.committed,
                mapVersion: 1,
                exchange: .features, learningRate: 0.1, ranks: [], shards: [], activity: .task(task))
            plan.classVersion = version
            #expect(try shard.model.perform(task, plan: plan) == .done(detail: ""))
        }
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            shard.model.tend()
            let (names, named) = try files(folder.path)
            if names.count == named { break }
            Thread.sleep(forTimeInterval: 0.01)
        }
        let (names, named) = try files(folder.path)
        #expect(names.count == named, "\(names)")
    }

    /// More slices than descriptors: a round is taken all the same.
    @Test func aRoundOfManySlicesIsTaken() throws {
        let folder = try TemporaryFolder()
        let count = 512
        let setup = try SteppingShard.setup(slices: count)
        let shard = try SteppingShard(setup, SteppingShard.store(folder.path))
        #expect(count > DescriptorPool.shared.limit)
        try step(shard) { shard.model.snapshotStep >= 0 }
        #expect(shard.model.diskProblem.isEmpty)
        #expect(DescriptorPool.shared.openCount <= DescriptorPool.shared.limit)
    }

    /// A log that cannot be synced keeps the step waiting, which is said, and goes on when the disk works again.
    @Test func theStepWaitsForTheLog() throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        let setup = try SteppingShard.setup(slices: 8)
        let shard = try SteppingShard(
            setup, SteppingShard.store(folder.path), snapshots: SnapshotOptions(logByteCount: .max))
        try shard.step()
        DiskFaults.shared.add(.init(.sync, path: folder.path + "/log/", error: EIO, count: .max))
        let path = folder.path
        shard.model.gate.onChange = { obstacle in if !obstacle.isEmpty { DiskFaults.shared.remove(path: path) } }
        try shard.step()
        #expect(shard.model.gate.obstacle.isEmpty)
        #expect(shard.model.committed == 1 && shard.model.durable == 1)
        #expect(shard.model.diskIncidents.count > 0 && shard.model.diskIncidents.last.contains("/log/"))
    }

    /// What is left after all of that is the state.
    @Test func theSameBitsComeBack() throws {
        let folder = try TemporaryFolder()
        defer { DiskFaults.shared.remove(path: folder.path) }
        let setup = try SteppingShard.setup(slices: 8)
        let undisturbed = try SteppingShard(setup, SteppingShard.store(folder.path + "/undisturbed"))
        for _ in 0..<20 { try undisturbed.step() }
        do {
            let shard = try SteppingShard(setup, SteppingShard.store(folder.path + "/disturbed"))
            for step in 0..<20 {
                if step % 5 == 2 {
                    for part in ["/log/", "/snapshots/"] {
                        DiskFaults.shared.add(.init(.sync, path: folder.path + "/disturbed" + part, error: EIO))
                    }
                }
                try shard.step()
            }
            #expect(shard.model.hashes() == undisturbed.model.hashes())
        }
        // The last record may be of a step that the cluster has not committed.
        let again = try SteppingShard(setup, SteppingShard.store(folder.path + "/disturbed"))
        _ = try again.model.perform(try #require(again.model.prepared), .commit, plan: nil)
        #expect(again.model.hashes() == undisturbed.model.hashes())
    }
}
