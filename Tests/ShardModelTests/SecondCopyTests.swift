import Cluster
import Foundation
import ParameterStore
import ShardModel
import ShardServer
import StepProtocol
import Tensors
import TestSupport
import Testing

/// Second copies that are being made while steps and snapshots go on.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct SecondCopyTests {
    private let folder: TemporaryFolder
    private let store: ShardStore
    private let shard: SteppingShard
    private let slice = SliceName.centers(1)
    private let step: Int
    private let piece: [Tensor]

    /// A piece as it is after step 1.
    init() throws {
        folder = try TemporaryFolder()
        store = try SteppingShard.store(folder.path + "/shard", segmentByteLimit: 512)
        shard = try SteppingShard(SteppingShard.setup(slices: 4), store)
        for _ in 0..<2 { try shard.step() }
        let request = TransferRequest(slice: slice, term: 0, mapVersion: 1, part: .chunk(0))
        guard case .chunk(1, let step, let payload) = try shard.model.content(of: request) else {
            throw Missing()
        }
        (self.step, piece) = (step, payload)
    }

    private struct Missing: Error {}

    private func keep(classVersion: Int = 0) throws {
        try shard.model.keepChunk(slice, index: 0, count: 1, step: step, piece, classVersion: classVersion)
    }

    /// Steps, until the snapshots of the shard's own slices do not need the log so far back any more.
    private func stepUntilSnapshotsAreNewer() throws {
        for _ in 0..<2_000 where store.oldestNeededStep < 20 {
            try shard.step()
            Thread.sleep(forTimeInterval: 0.001)
        }
        for _ in 0..<8 { try shard.step() }
        try #require(store.oldestNeededStep >= 20)
    }

    @Test func theLogReachesBackToACopyThatIsBeingMade() throws {
        try keep()
        try stepUntilSnapshotsAreNewer()
        #expect(store.oldestLoggedStep ?? .max <= step + 1)
        try shard.model.installCopy(of: slice)
        #expect(shard.model.keptCopies[slice] == KeptCopy(oldest: 1, newest: 1, classVersion: 0))
    }

    @Test func aPieceFromBeforeTheLogIsNoCopy() throws {
        try stepUntilSnapshotsAreNewer()
        try #require(store.oldestLoggedStep ?? 0 > step + 1)
        try keep()
        #expect(throws: (any Error).self) { try shard.model.installCopy(of: slice) }
        #expect(shard.model.keptCopies.isEmpty)
    }

    @Test func aPieceOfOtherClassesIsNeitherGivenNorKept() throws {
        #expect(throws: (any Error).self) { try keep(classVersion: 1) }
        let request = TransferRequest(slice: slice, term: 0, mapVersion: 1, part: .chunk(0))
        #expect(throws: (any Error).self) { try shard.model.content(of: request, classVersion: 1) }
        #expect(throws: Never.self) { try shard.model.content(of: request, classVersion: 0) }
    }
}
