internal import CWire
internal import Cluster
import StepProtocol

/// What a shard's directory holds.
extension Encoder {
    func holdings(_ holdings: ShardHoldings) throws -> UnsafeMutablePointer<Partialfc__ShardHoldings> {
        try arena.make(partialfc__shard_holdings__init) {
            $0.place = try arena.prose(holdings.place, "place")
            $0.identity = holdings.identity
            $0.n_slices = holdings.slices.ranges.count
            $0.slices = try ranges(holdings.slices, "slices")
            $0.n_dense_slices = holdings.denseSlices.ranges.count
            $0.dense_slices = try ranges(holdings.denseSlices, "dense_slices")
            $0.n_received = holdings.received.ranges.count
            $0.received = try ranges(holdings.received, "received")
            $0.n_received_dense = holdings.receivedDense.ranges.count
            $0.received_dense = try ranges(holdings.receivedDense, "received_dense")
            $0.n_kept = holdings.keptSlices.ranges.count
            $0.kept = try ranges(holdings.keptSlices, "kept")
            $0.n_kept_dense = holdings.keptDense.ranges.count
            $0.kept_dense = try ranges(holdings.keptDense, "kept_dense")
            $0.map_version = try Field.number(holdings.mapVersion, "map_version")
            $0.class_version = try Field.number(holdings.classVersion, "class_version")
            if let version = holdings.receivedClassVersion {
                $0.received_class_version = try Field.number(version, "received_class_version") + 1
            }
            $0.past = holdings.past
            $0.last_task = try Field.number(holdings.lastTask, "last_task")
            $0.synced = holdings.isSynced ? 1 : 0
            $0.n_recent = try Field.count(holdings.recent.count, "recent", limit: Bound.recent)
            $0.recent = arena.messages(try holdings.recent.map { try step($0) })
        }
    }
}

extension Decoder {
    static func holdings(_ c: Partialfc__ShardHoldings) throws -> ShardHoldings {
        ShardHoldings(
            place: try text(c.place, "place", limit: Bound.textBytes), identity: c.identity,
            slices: try slices(c.slices, c.n_slices, "slices"),
            denseSlices: try slices(c.dense_slices, c.n_dense_slices, "dense_slices"),
            received: try slices(c.received, c.n_received, "received"),
            receivedDense: try slices(c.received_dense, c.n_received_dense, "received_dense"),
            kept: try slices(c.kept, c.n_kept, "kept"),
            keptDense: try slices(c.kept_dense, c.n_kept_dense, "kept_dense"),
            mapVersion: try Field.number(c.map_version, "map_version"),
            classVersion: try Field.number(c.class_version, "class_version"),
            receivedClassVersion: c.received_class_version == 0
                ? nil : try Field.number(c.received_class_version - 1, "received_class_version"), past: c.past,
            lastTask: try Field.number(c.last_task, "last_task", limit: Bound.counter), isSynced: c.synced != 0,
            recent: try entries(c.recent, c.n_recent, "recent", limit: Bound.recent).map { id in
                StepID(
                    term: try Field.number(id.term, "term"), step: try Field.number(id.step, "step"),
                    attempt: try Field.number(id.attempt, "attempt"))
            })
    }
}
