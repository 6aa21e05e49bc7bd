import Cluster
import Model
import ParameterStore
import Setup
import ShardModel
import StepProtocol
import TestSupport
import Testing

/// A log says with which values of the head a step was computed.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct HeadValuesTests {
    /// Of the steps 0…5: the head's own, then two stages.
    private static func values(_ setup: RunSetup) -> [HeadValues?] {
        var (few, many) = (setup.head.values, setup.head.values)
        (few.sampleRate, few.m2) = (0, 0.25)
        (many.sampleRate, many.scale, many.interclassFilter) = (1, 16, 0.5)
        return [nil, setup.head.values, few, few, many, many]
    }

    private func shard(_ folder: TemporaryFolder, isExternal: Bool) throws -> SteppingShard {
        try SteppingShard(
            SteppingShard.setup(slices: 4, isExternal: isExternal),
            SteppingShard.store(folder.path, segmentByteLimit: 64 << 20),
            snapshots: SnapshotOptions(logByteCount: 1 << 30))
    }

    @Test(arguments: [false, true]) func aReplayHasTheValuesOfEveryStep(isExternal: Bool) throws {
        let folder = try TemporaryFolder()
        let wanted: SliceHashes
        let values = Self.values(try SteppingShard.setup(slices: 4, isExternal: isExternal))
        do {
            let shard = try shard(folder, isExternal: isExternal)
            for value in values { try shard.step(head: value) }
            wanted = shard.model.hashes()
        }
        let again = try shard(folder, isExternal: isExternal)
        #expect(again.model.restoring.replayedSteps >= 5)
        if let id = again.model.prepared { _ = try again.model.perform(id, .commit, plan: nil) }
        #expect(again.model.hashes() == wanted)
        // And they matter.
        let other = try TemporaryFolder()
        let plain = try shard(other, isExternal: isExternal)
        for _ in 0..<6 { try plain.step() }
        #expect(plain.model.hashes() != wanted)
    }

    /// Records of runs whose head never changes are what they were before there were such values.
    @Test func recordsNameWhatDiffersFromTheConfigurationAlone() throws {
        let folder = try TemporaryFolder()
        let setup = try SteppingShard.setup(slices: 4)
        let values = Self.values(setup)
        do {
            let shard = try shard(folder, isExternal: false)
            for value in values { try shard.step(head: value) }
        }
        var cursor = try SteppingShard.store(folder.path).records(after: -1)
        var heads: [HeadValues?] = []
        while let record = try cursor.next() { heads.append(record.header.head) }
        #expect(heads == values.map { $0 == setup.head.values ? nil : $0 })
    }
}
