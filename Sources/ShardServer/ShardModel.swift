import Backbone
import CenterStore
import MemberSupport
import PartialFC
import RunConfiguration
import RunSetup
import StepProtocol
import Tensors
import Wire

/// The numbers of a shard: executes what the state machine asks for, in order. One thread at a time may call.
final class ShardModel {
    private let setup: RunSetup
    private let head: ShardHead
    private var dense: DenseShard
    /// The classes that replace random negatives, if the configuration lists them.
    private let sampled: [Int64]?
    private var exchange = Exchange.features

    /// Makes the shard's slices in their initial state.
    ///
    /// - Throws: `HeadError`, `BackboneError` or `SafeTensorsError` if files do not fit or memory is short.
    init(setup: RunSetup, slices: Range<Int>, denseSlices: Range<Int>, threads: Int) throws {
        self.setup = setup
        let configuration = setup.configuration
        let initial = configuration.head.initial
        head = try ShardHead(
            configuration: setup.head, slices: slices, threads: threads,
            source: initial.isEmpty ? nil : .safeTensors(path: initial))
        dense = try DenseShard(
            layout: setup.layout, slices: denseSlices, of: configuration.backbone.denseSlices, seed: configuration.seed,
            optimizer: setup.optimizer, microBatchCount: configuration.microBatchCount)
        let list = configuration.head.sampled
        sampled =
            list.isEmpty ? nil : try SafeTensors(contentsOf: list).tensor("sampled", .i64, in: list).array(Int64.self)
    }

    /// Bytes of centers, parameters and their momentum.
    var memoryBytes: Int { head.memoryByteCount + dense.memoryBytes }

    /// Executes a computation.
    ///
    /// - Returns: its result, nil for `rollback` and `commit`.
    /// - Throws: `Refusal` if it refuses its input; nothing was changed then.
    func perform(_ id: StepID, _ computation: ShardComputation<[Tensor]>) throws(Refusal) -> ShardResult<[Tensor]>? {
        do { return try execute(id, computation) } catch { throw Refusal(error) }
    }

    private func execute(_ id: StepID, _ computation: ShardComputation<[Tensor]>) throws -> ShardResult<[Tensor]>? {
        switch computation {
        case .sample(let ranks, _, let exchange):
            self.exchange = exchange
            try head.begin(
                step: id.step, microBatchSize: setup.configuration.batch.microBatch, labels: labels(of: ranks),
                sampled: sampled)
            return .sample(try head.beginReply())
        case .forward(let rank, let payload):
            if exchange == .rows { return .forward(rank: rank, try head.rowsReply()) }
            guard let ranges, rank < ranges.count else { throw HeadError(.phase, "rank \(rank) has not begun") }
            let features = try single(payload, "the features of rank \(rank)")
            return .forward(rank: rank, try head.forward(features: features, microBatches: ranges[rank]))
        case .backward(let forward, let backward):
            // The batch is in order of micro-batches, whatever order the ranks are in.
            let order = (ranges ?? []).indices.sorted { (ranges ?? [])[$0].lowerBound < (ranges ?? [])[$1].lowerBound }
            if exchange == .rows {
                try head.backward(pushed: backward)
            } else {
                try head.backward(
                    features: order.map { try single(forward[$0], "the features of rank \($0)") },
                    logZ: order.map { try single(backward[$0], "the normalizers of rank \($0)") })
            }
            return .backward
        case .dense(let pushed): return .dense(try dense.dense(pushed: pushed))
        case .update(let payload, let learningRate):
            let norm = try single(payload, "the squared norm")
            guard norm.dtype == .f64, norm.shape == [1] else {
                throw HeadError(.malformed, "the squared norm is \(norm.dtype) \(norm.shape), expected f64 [1]")
            }
            try head.prepare(learningRate: learningRate)
            return .update(
                try dense.update(totalSquaredNorm: norm.buffer(Double.self)[0], learningRate: Double(learningRate)))
        case .parameters(let rank): return .parameters(rank: rank, [dense.parameters])
        case .rollback:
            head.rollback()
            dense.rollback()
            return nil
        case .commit:
            try head.commit()
            dense.commit()
            return nil
        }
    }

    /// Hashes of everything held here.
    func hashes(step: Int) -> SliceHashes {
        let first = dense.slices.lowerBound
        let hashes = dense.contentHashes().enumerated().map { (first + $0.offset, $0.element) }
        return SliceHashes(
            step: step, slices: head.sliceHashes(), denseSlices: Dictionary(uniqueKeysWithValues: hashes))
    }

    /// Rows and momentum of some classes.
    ///
    /// - Throws: `Refusal` if a class is not held here, or the answer would be longer than a message may be.
    func read(ids: Tensor) throws(Refusal) -> (rows: Tensor, momentum: Tensor) {
        guard ids.dtype == .i64, ids.shape.count == 1 else {
            throw Refusal(.malformed, "class ids are \(ids.dtype) \(ids.shape), expected i64 [n]")
        }
        // A row is hundreds of times as long as its id: checked before any memory is asked for.
        let rowBytes = 2 * setup.head.embeddingSize * MemoryLayout<Float>.stride
        let limit = (TransportOptions().messageByteCount - WireLimits.server.headerByteCount) / rowBytes
        guard ids.count <= limit else {
            throw Refusal(.tooLarge, "\(ids.count) rows are asked for at once; at most \(limit) fit into a message")
        }
        do { return try head.read(ids: ids.array(Int64.self)) } catch { throw Refusal(error) }
    }

    // MARK: The step in hand

    /// The micro-batches of each rank of the step in hand.
    private var ranges: [Range<Int>]?

    /// The labels of the global batch, in order of micro-batches.
    private func labels(of ranks: [ShardRankInput<[Tensor]>]) throws -> [Int64] {
        let size = setup.configuration.batch.microBatch
        for (rank, input) in ranks.enumerated() {
            let labels = try single(input.payload, "the labels of rank \(rank)")
            guard labels.dtype == .i64, labels.shape == [input.microBatches.count * size] else {
                throw HeadError(
                    .malformed,
                    "the labels of rank \(rank) are \(labels.dtype) \(labels.shape), expected i64 [\(input.microBatches.count * size)]"
                )
            }
        }
        ranges = ranks.map(\.microBatches)
        return ranks.sorted { $0.microBatches.lowerBound < $1.microBatches.lowerBound }.flatMap {
            $0.payload[0].array(Int64.self)
        }
    }

    private func single(_ payload: [Tensor], _ what: String) throws -> Tensor {
        guard payload.count == 1 else {
            throw HeadError(.malformed, "\(what) are \(payload.count) tensors, expected 1")
        }
        return payload[0]
    }
}
