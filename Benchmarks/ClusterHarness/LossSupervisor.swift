internal import Determinism
internal import Foundation
internal import OperatorStatus

/// Takes shards of a cluster away for ever, with their directories, while it trains with two copies of every slice.
///
/// Which ones is a function of its seed; when exactly it happens is up to the machine. Use from one thread.
public final class LossSupervisor {
    /// One loss, and what became of it.
    public struct Loss: Sendable {
        /// The shard, and the slices that it owned.
        public var shard: String
        public var slices: Int
        /// The last step that was committed before, and how far back the copies were then.
        public var step: Int
        public var stepsToReplay: Int
        /// Seconds from its death until the next step was committed.
        public var seconds: Double
        /// Seconds until every slice had a second copy again.
        public var copySeconds: Double
    }

    private let cluster: LocalCluster
    private let shards: Int
    private let say: (String) -> Void
    private var random: KeyedRandom

    /// - Parameters:
    ///   - cluster: one that has been started, with `cluster.copies=2`.
    ///   - shards: how many there are to be; a fresh one takes the place of each that is lost.
    ///   - say: gets a line for every loss.
    public init(cluster: LocalCluster, shards: Int, seed: UInt64, say: @escaping (String) -> Void) {
        self.cluster = cluster
        self.shards = shards
        self.say = say
        random = KeyedRandom(seed: seed, purpose: .test)
    }

    /// Takes `count` shards away, one after the other, each time when every slice has two copies, or the run is over.
    ///
    /// - Throws: `HarnessError` if the cluster does not go on, or does not make copies again.
    public func run(_ count: Int, lastStep: Int) throws -> [Loss] {
        var losses: [Loss] = []
        for index in 0..<count {
            let wanted = lastStep * (index + 1) / (count + 2)
            let status = try cluster.waitForStatus("every slice has two copies", seconds: 120) { status in
                status.committed >= wanted && status.copies.map { $0.complete == $0.slices && $0.slices > 0 } ?? false
                    && status.owners.count == self.shards
            }
            if status.committed >= lastStep { return losses }
            losses.append(try lose(status))
        }
        return losses
    }

    private func lose(_ status: ClusterStatus) throws -> Loss {
        let owners = status.shards.filter { status.owners.contains($0.name) }
        let victim = owners[Int(random.below(UInt64(owners.count)))]
        guard
            let index = cluster.shards.firstIndex(where: { Int($0.processIdentifier) == victim.processID })
        else { throw HarnessError("\(victim.name) is none of the harness's processes") }
        let start = Date()
        cluster.shards[index].kill()
        try FileManager.default.removeItem(at: cluster.shardDirectory(index))
        // Half of the time a fresh one comes at once, at another address; else only when the others go on.
        let isReplacedAtOnce = random.below(2) == 0
        if isReplacedAtOnce { try cluster.addShard() }
        let committed = try cluster.waitForStatus("the others go on without \(victim.name)", seconds: 120) {
            $0.committed > status.committed + 1
        }
        let seconds = Date().timeIntervalSince(start)
        if !isReplacedAtOnce { try cluster.addShard() }
        try cluster.waitForStatus("copies are made again", seconds: 120) { status in
            status.copies.map { $0.complete == $0.slices } ?? false || status.state == "finished"
        }
        let loss = Loss(
            shard: victim.name,
            slices: (victim.slices + victim.denseSlices).reduce(0) { $0 + $1[1] - $1[0] }, step: status.committed,
            stepsToReplay: status.copies?.stepsToReplay ?? 0, seconds: seconds,
            copySeconds: Date().timeIntervalSince(start))
        say(
            "\(loss.shard) is lost after step \(loss.step) with \(loss.slices) slices: step \(committed.committed) after "
                + "\(String(format: "%.1f", loss.seconds)) s, two copies again after \(String(format: "%.1f", loss.copySeconds)) s"
        )
        return loss
    }
}
