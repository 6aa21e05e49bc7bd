import Cluster
import Configuration
import Foundation
import Model
import ParameterStore
import Setup
import ShardModel
import ShardServer
import StepProtocol
import TestSupport
import Testing

/// A task that fails half-way destroys nothing, and says nothing that is not so.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct RestoreTests {
    private let setup: RunSetup

    init() throws { setup = try SteppingShard.setup(slices: 4) }

    private func plan(_ step: Int, owns slices: SliceSet = [0, 1, 2, 3], past: UInt64 = 7, _ task: BoundaryTask) -> Plan
    {
        Plan(
            id: StepID(term: 3, step: step + 1, attempt: 0), committed: step, mapVersion: 2, exchange: .features,
            learningRate: 0.1, ranks: [],
            shards: [.init(shard: MemberID(.shard, 0), endpoint: "", slices: slices, denseSlices: [0])],
            activity: .task(task), past: past)
    }

    /// A checkpoint of the state after the steps of `model`.
    private func checkpoint(_ model: ShardEngine, in directory: String) throws {
        let task = BoundaryTask(number: 1, step: model.committed, kind: .checkpoint(directory: directory))
        guard case .done(let detail) = try model.perform(task, plan: plan(model.committed, task)) else {
            Issue.record("no checkpoint")
            return
        }
        try CheckpointManifest(
            step: model.committed, classVersion: 0, operations: "[]",
            configuration: setup.configuration.canonicalText, fingerprint: setup.configuration.fingerprint,
            sliceCount: 4, denseSliceCount: 1, classCount: setup.head.classCount,
            embeddingSize: setup.head.embeddingSize, format: setup.head.format, created: "2026-01-01T00:00:00Z",
            files: JSONDecoder().decode([CheckpointManifest.File].self, from: Data(detail.utf8))
        ).write(to: directory)
    }

    private func flipBit(of path: String) throws {
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[bytes.count / 2] ^= 1
        try bytes.write(to: URL(fileURLWithPath: path))
    }

    @Test(arguments: ["damaged", "missing"])
    func aRestoreThatFailsChangesNothingAndFindsEverythingTheNextTime(_ fault: String) throws {
        let folder = try TemporaryFolder()
        let directory = folder.path + "/shard"
        let shard = try SteppingShard(setup, SteppingShard.store(directory))
        for _ in 0..<3 { try shard.step() }
        try checkpoint(shard.model, in: folder.path + "/checkpoint")
        let wanted = shard.model.hashes()
        for _ in 0..<3 { try shard.step() }
        let before = shard.model.hashes()
        let file = folder.path + "/checkpoint/slices/slice-00002.safetensors"
        let away = folder.path + "/away"
        if fault == "damaged" {
            try flipBit(of: file)
        } else {
            try FileManager.default.moveItem(atPath: file, toPath: away)
        }
        let task = BoundaryTask(number: 2, step: 2, kind: .restore(checkpoint: folder.path + "/checkpoint"))
        for _ in 0..<2 {
            guard case .failed(let message) = try shard.model.perform(task, plan: plan(2, task)) else {
                Issue.record("a checkpoint that is \(fault) was loaded")
                return
            }
            #expect(message.contains("slice-00002"), "\(message)")
            #expect(shard.model.hashes() == before)
            #expect(shard.model.state.holdings?.slices == [0, 1, 2, 3])
        }
        if fault == "damaged" {
            try flipBit(of: file)
        } else {
            try FileManager.default.moveItem(atPath: away, toPath: file)
        }
        #expect(try shard.model.perform(task, plan: plan(2, task)) == .done(detail: ""))
        #expect(shard.model.hashes() == wanted)
        #expect(shard.model.state.holdings?.past == 7)
        #expect(shard.model.state.holdings?.mapVersion == 2)
    }

    @Test func theDirectoryIsWhatItWasUntilEverythingIsThere() throws {
        let folder = try TemporaryFolder()
        let directory = folder.path + "/shard"
        var before: SliceHashes?
        do {
            let shard = try SteppingShard(setup, SteppingShard.store(directory))
            for _ in 0..<3 { try shard.step() }
            try checkpoint(shard.model, in: folder.path + "/checkpoint")
            for _ in 0..<3 { try shard.step() }
            before = shard.model.hashes()
            try flipBit(of: folder.path + "/checkpoint/slices/slice-00003.safetensors")
            let task = BoundaryTask(number: 2, step: 2, kind: .restore(checkpoint: folder.path + "/checkpoint"))
            _ = try shard.model.perform(task, plan: plan(2, task))
        }
        // The process dies: what comes back is the state before.
        let again = try SteppingShard(setup, SteppingShard.store(directory))
        if let id = again.model.prepared { _ = try again.model.perform(id, .commit, plan: nil) }
        #expect(again.model.hashes() == before)
    }

    @Test func withoutADirectoryTheNextTryLoadsWhatTheMapSays() throws {
        let folder = try TemporaryFolder()
        let source = try SteppingShard(setup, SteppingShard.store(folder.path + "/shard"))
        for _ in 0..<3 { try source.step() }
        try checkpoint(source.model, in: folder.path + "/checkpoint")
        let model = try ShardEngine(setup: setup.shard, store: nil, threads: 1)
        model.member = 0
        let file = folder.path + "/checkpoint/slices/slice-00001.safetensors"
        try flipBit(of: file)
        let task = BoundaryTask(number: 2, step: 2, kind: .restore(checkpoint: folder.path + "/checkpoint"))
        guard case .failed = try model.perform(task, plan: plan(2, task)) else {
            Issue.record("a damaged checkpoint was loaded")
            return
        }
        try flipBit(of: file)
        #expect(try model.perform(task, plan: plan(2, task)) == .done(detail: ""))
        #expect(model.hashes() == source.model.hashes())
    }

    @Test func aShardThatDoesNotHoldWhatTheMapSaysWritesNoCheckpoint() throws {
        let folder = try TemporaryFolder()
        let model = try ShardEngine(setup: setup.shard, store: nil, threads: 1)
        model.member = 0
        let task = BoundaryTask(number: 1, step: -1, kind: .checkpoint(directory: folder.path + "/checkpoint"))
        guard case .failed(let message) = try model.perform(task, plan: plan(-1, task)) else {
            Issue.record("a checkpoint of nothing was acknowledged")
            return
        }
        #expect(message.contains("this shard is to own slice 0"), "\(message)")
    }

    @Test func aHandOverWithoutACopyIsNotDone() throws {
        let folder = try TemporaryFolder()
        let model = try ShardEngine(setup: setup.shard, store: SteppingShard.store(folder.path), threads: 1)
        let move = SliceMove(slice: .centers(2), from: MemberID(.shard, 1), to: MemberID(.shard, 0))
        let task = BoundaryTask(number: 1, step: -1, kind: .handOver([move]))
        guard case .failed(let message) = try model.perform(task, plan: plan(-1, owns: [], task)) else {
            Issue.record("a copy that is not there was handed over")
            return
        }
        #expect(message.contains("the copy of slice 2 is not complete"), "\(message)")
    }

    @Test func slicesAreNeverStartedAfterTheFirstStep() throws {
        let folder = try TemporaryFolder()
        let model = try ShardEngine(setup: setup.shard, store: SteppingShard.store(folder.path), threads: 1)
        let task = BoundaryTask(number: 1, step: 5, kind: .restore(checkpoint: nil))
        #expect(throws: (any Error).self) {
            try model.perform(
                StepID(step: 6, attempt: 0), .own(slices: [0, 1], denseSlices: [0], mapVersion: 2),
                plan: plan(5, owns: [0, 1], task))
        }
        #expect(model.state.hasSlices == false)
    }

    @Test func aDirectorySaysWhichAttemptsItsNewestStepsAreOf() throws {
        let folder = try TemporaryFolder()
        do {
            let shard = try SteppingShard(
                setup, SteppingShard.store(folder.path), snapshots: SnapshotOptions(logByteCount: 1 << 30))
            for _ in 0..<6 { try shard.step() }
            let recent = shard.model.state.holdings?.recent
            #expect(recent == (2..<6).map { StepID(step: $0, attempt: 0) })
            #expect(shard.model.state.holdings?.identity != 0)
        }
        // Before the state is read, and after that.
        let store = try SteppingShard.store(folder.path)
        #expect(store.state.holdings?.recent.last == StepID(step: 5, attempt: 0))
        #expect(store.state.holdings?.slices == [0, 1, 2, 3])
        let again = try SteppingShard(setup, store)
        #expect(again.model.state.holdings?.recent.last == StepID(step: 5, attempt: 0))
        #expect(again.model.state.holdings?.identity == store.state.holdings?.identity)
    }
}
