internal import Foundation
internal import OperatorStatus

/// Cuts links of a cluster in one direction for a while, and watches what comes of it. Use from one thread.
public final class PartitionSupervisor {
    /// A cut, and what the cluster did meanwhile.
    public struct Outcome: Sendable {
        public var cut: LinkCut
        /// Seconds that it lasted.
        public var seconds: Double
        /// The longest time without a step.
        public var standstill = 0.0
        /// What the coordinator's status said of it the longest; empty if steps went on.
        public var said = ""
        /// Why a worker was left out, as the status said; empty if none was.
        public var leftOut = ""
        /// Whether a worker was left out, or taken for lost.
        public var lostWorker = false
        /// Whether the slices of the shard went to those who keep copies of them.
        public var lostShard = false
    }

    private let cluster: LocalCluster
    private let network: ClusterNetwork
    private let world: TrainingRun.World

    /// - Parameters:
    ///   - cluster: one in a network, that has been started with `cluster.copies=2` and automatic rebalancing.
    ///   - world: its processes.
    /// - Throws: `HarnessError` if it is not in a network.
    public init(cluster: LocalCluster, world: TrainingRun.World) throws {
        guard let network = cluster.network else { throw HarnessError("the cluster has no network of its own") }
        self.cluster = cluster
        self.network = network
        self.world = world
    }

    /// Waits until the cluster is whole and trains, cuts the link of the first worker or shard for `seconds`, and waits until it
    /// trains again.
    ///
    /// - Parameter isEnough: mends the link earlier, once this holds.
    /// - Throws: `HarnessError` if it does not.
    public func run(
        _ cut: LinkCut, seconds: Double, until isEnough: (Outcome) -> Bool = { _ in false }
    ) throws -> Outcome {
        let before = try makeWhole()
        guard let victim = before.shards.first(where: { before.owners.contains($0.name) }),
            let shard = cluster.shards.first(where: { Int($0.processIdentifier) == victim.processID })
        else { throw HarnessError("no shard owns anything") }
        var outcome = Outcome(cut: cut, seconds: seconds)
        var words: [String: Double] = [:]
        let directions = cut.directions(
            shard: shard.name, shards: cluster.shards.map(\.name), workers: cluster.workers.map(\.name))
        for direction in directions { try network.cut(from: direction.from, to: direction.to) }
        defer { try? network.mend() }
        let start = Date()
        var (last, lastStep, lastLook, mended) = (before, start, start, Date?.none)
        // Until it has trained for a moment after the link is back.
        var afterwards = Int.max
        while last.committed < afterwards {
            let now = Date()
            if mended == nil, now.timeIntervalSince(start) >= seconds || isEnough(outcome) {
                try network.mend()
                (mended, afterwards) = (now, last.committed + 10)
            }
            if let mended, now.timeIntervalSince(mended) > 120 {
                throw HarnessError("\(cut.rawValue), \(seconds) s: it does not go on (\(last.reason))")
            }
            if let status = try? cluster.status(seconds: 2) {
                if status.state == "failed" { throw HarnessError("the run failed: \(status.reason)") }
                if status.state == "paused" || status.state == "finished" {
                    throw HarnessError("the run is over before the links are mended: more steps, or shorter cuts")
                }
                let pause = now.timeIntervalSince(lastStep)
                if status.committed > last.committed { lastStep = now }
                outcome.standstill = max(outcome.standstill, pause)
                if pause > 1, let word = word(of: status) {
                    words[word, default: 0] += now.timeIntervalSince(lastLook)
                }
                note(status, victim.name, &outcome)
                last = status
            }
            lastLook = now
            Thread.sleep(forTimeInterval: 0.1)
        }
        outcome.said = words.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? outcome.leftOut
        return outcome
    }

    private func note(_ status: ClusterStatus, _ victim: String, _ outcome: inout Outcome) {
        let able = status.workers.count { $0.alive && $0.leftOut == nil }
        if able < world.workers { outcome.lostWorker = true }
        if !status.owners.contains(victim) { outcome.lostShard = true }
        guard let worker = status.workers.first(where: { $0.leftOut != nil }), let reason = worker.leftOut else {
            return
        }
        outcome.leftOut = "left out \(worker.name): \(withoutNumbers(reason))"
    }

    /// What the status says of why there are no steps, without the numbers that grow.
    private func word(of status: ClusterStatus) -> String? {
        let task = status.task.map { "\($0.kind), waiting for \($0.pending.joined(separator: ", "))" } ?? ""
        let text = [status.waitingFor ?? "", status.reason, task].first { !$0.isEmpty } ?? ""
        return text.isEmpty ? nil : withoutNumbers(text)
    }

    private func withoutNumbers(_ text: String) -> String {
        text.replacing(#/step [0-9]+( attempt [0-9]+)?/#, with: "step N")
            .replacing(#/[0-9]+(\.[0-9]+)? (s|seconds)\b/#, with: "n s").replacing(#/ at tcp:[^ ;,]*/#, with: "")
    }

    /// Every shard owns slices and every slice has two copies, nobody is left out, and steps are done.
    @discardableResult
    private func makeWhole() throws -> ClusterStatus {
        var step: Int?
        var next = Date(timeIntervalSinceNow: 3)
        return try cluster.waitForStatus("the cluster is whole", seconds: 120) { status in
            if status.state == "paused" || status.state == "finished" {
                throw HarnessError("the run is over before the cluster is whole again: more steps, or shorter cuts")
            }
            // One that no worker reached has to be let in again.
            if status.owners.count < self.world.shards, Date() > next {
                _ = try? self.cluster.query("rebalance")
                next = Date(timeIntervalSinceNow: 3)
            }
            let isWhole =
                status.owners.count == self.world.shards && status.moves.isEmpty
                && status.copies.map { $0.complete == $0.slices } ?? false
                && status.workers.count { $0.alive && $0.leftOut == nil } == self.world.workers
            if !isWhole { step = nil }
            if isWhole, step == nil { step = status.committed }
            return step.map { status.committed > $0 + 3 } ?? false
        }
    }
}
