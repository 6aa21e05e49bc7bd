import ClusterHarness
import Foundation
import TestSupport
import Testing

/// Messages between real processes are lost in one direction only, each process in a network namespace of its own.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct PartitionTests {
    private static let isAllowed = ConditionTrait.enabled(
        if: ClusterNetwork.problem == nil, "network namespaces are not allowed here: run as root")
    private static let world = TrainingRun.World(shards: 3, workers: 2)

    /// Trains through a cut in its middle, which lasts until that is enough, and expects the same losses and hashes.
    private func withCut(
        _ cut: LinkCut, until isEnough: (PartitionSupervisor.Outcome) -> Bool
    ) throws -> PartitionSupervisor.Outcome {
        let undisturbed = try Undisturbed.run.get()
        return try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory, network: ClusterNetwork())
            defer { cluster.stop() }
            try cluster.start(
                configuration: Undisturbed.configuration(writeFolderDataset(to: directory)),
                settings: [
                    "cluster.copies=2", "cluster.min_copies=2", "cluster.promote_after=1.5",
                    "cluster.stuck_seconds=2",
                ],
                world: Self.world)
            let supervisor = try PartitionSupervisor(cluster: cluster, world: Self.world)
            let outcome = try supervisor.run(cut, seconds: 60, until: isEnough)
            try cluster.waitUntilFinished(seconds: 120)
            let run = try TrainingRun(of: cluster)
            #expect(run.gap == nil && run.difference(from: undisturbed) == nil)
            return outcome
        }
    }

    @Test(isAllowed) func aShardThatNoWorkerReachesIsTakenForLost() throws {
        let outcome = try withCut(.workersAndShard) { $0.lostShard }
        #expect(outcome.lostShard)
    }

    @Test(isAllowed) func aWorkerThatOneShardDoesNotHearIsLeftOut() throws {
        let outcome = try withCut(.workerToShard) { $0.lostWorker }
        #expect(outcome.lostWorker && !outcome.lostShard)
    }
}
