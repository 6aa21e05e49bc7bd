import Cluster
import Configuration
import Dataset
import Determinism
import MemberSupport
import Model
import ParameterStore
import PartialFC
import RunData
import Setup
import StepProtocol
import Tensors
import Training
import Wire

/// The numbers of a worker: executes what the state machine asks for, in order. One thread at a time may call.
final class WorkerModel {
    private let setup: RunSetup
    private let source: StepSource
    private let head: WorkerHead
    private let backbone: BackboneWorker
    private let recorder: StepRecorder?

    /// The backbone's parameters f32 [P]. A step installs a new tensor; an old one is never written again.
    private(set) var parameters: Tensor?

    // The attempt in hand.
    private var attempt: StepID?
    private var microBatches = 0..<0
    /// The values of the head in it; nil: those of the configuration.
    private var values: HeadValues?
    private var labels: Tensor?
    private var features: Tensor?
    /// Of a `rows` exchange, what has been computed while rows come in; nil before, and after something was wrong.
    private var rows: RowsExchange?
    private var rowsAreRefused = false
    private var output: WorkerHead.Output?

    /// - Throws: `DatasetError`, `HeadError` or `BackboneError` if the configuration does not fit the data.
    init(setup: RunSetup, data: TrainingData, threads: Int, record: String?) throws {
        self.setup = setup
        source = try StepSource(data, setup.configuration, classes: setup.classes(after: []))
        head = try WorkerHead(configuration: setup.head, threads: threads)
        backbone = try BackboneWorker(
            layout: setup.layout, microBatchSize: setup.configuration.batch.microBatch,
            blocks: ParallelBlocks(threads: threads),
            dropout: Dropout(rate: setup.configuration.backbone.dropout ?? 0, seed: setup.configuration.seed),
            compute: setup.backboneCompute)
        recorder = record.map { StepRecorder(directory: $0) }
    }

    /// What took the place of images that did not decode. From any thread.
    var replaced: StepSource.Replaced { source.replaced }

    /// Goes on with the classes after operations, between steps.
    ///
    /// - Throws: `Refusal` if no sample has a class any more.
    func adopt(_ classes: ClassRegistry) throws(Refusal) {
        do {
            try source.adopt(classes)
            try head.adopt(classes)
        } catch { throw Refusal(error) }
    }

    /// Executes a computation of the step that a plan announces.
    ///
    /// - Returns: its result, nil for `install`.
    /// - Throws: `Refusal` if it refuses its input.
    func perform(
        _ id: StepID, _ computation: WorkerComputation<[Tensor]>, shards: [Plan.Shard], head values: HeadValues?
    ) throws(Refusal) -> WorkerResult<[Tensor]>? {
        do { return try execute(id, computation, shards, values) } catch { throw Refusal(error) }
    }

    /// Forgets the results of an attempt that is over.
    func abandon() {
        attempt = nil
        labels = nil
        features = nil
        rows = nil
        output = nil
    }

    /// Computes with those rows of a shard that are there, once the features are. What is wrong with them is said by the
    /// computation of the whole.
    ///
    /// - Parameters:
    ///   - shard: its index among those of the plan.
    ///   - slices: of the shard.
    func take(_ reply: ArrivingReply, of shard: Int, slices: SliceSet) {
        guard reply.id == attempt, !rowsAreRefused, output == nil, reply.payload.count == 3,
            zip(reply.payload, reply.available).prefix(2).allSatisfy({ $0.byteCount == $1 }),
            let batch = batch(reply.id)
        else { return }
        do throws(HeadError) {
            let exchange = if let rows { rows } else { try head.beginRows(batch) }
            rows = exchange
            try exchange.take(reply.payload, of: shard, slices: slices, available: reply.available[2])
        } catch {
            rows = nil
            rowsAreRefused = true
        }
    }

    private func execute(
        _ id: StepID, _ computation: WorkerComputation<[Tensor]>, _ shards: [Plan.Shard], _ values: HeadValues?
    ) throws -> WorkerResult<[Tensor]>? {
        switch computation {
        case .labels(let range):
            abandon()
            let tensor = try source.labels(step: id.step, microBatches: range)
            (attempt, rowsAreRefused, self.values) = (id, false, values)
            (microBatches, labels) = (range, tensor)
            return .labels([tensor])
        case .embed(let range):
            let embedded = try embed(step: id.step, range)
            features = embedded
            return .embed([embedded])
        case .softmax(let exchange, let replies): return try softmax(id, exchange, replies, shards)
        case .backpropagate:
            guard let output else { throw HeadError(.phase, "there is no gradient to propagate") }
            let (nodes, gradients) = try backbone.backward(
                output.featureGradient, microBatches: microBatches, of: setup.configuration.microBatchCount,
                rounding: setup.denseGradientRounding(step: id.step))
            return .backpropagate(
                shards.map { shard in
                    let own = [nodes, columns(of: gradients, shard.denseSlices)]
                    // Whoever keeps copies of dense slices gets their gradients too.
                    return shard.keptDense.isEmpty ? own : own + [columns(of: gradients, shard.keptDense)]
                })
        case .norm(let replies):
            let squared = try squaredNorm(replies, shards)
            return .norm([Tensor([squared])], gradientNorm: squared.squareRoot())
        case .install(_, let payloads, _):
            try install(payloads, shards)
            return nil
        }
    }

    private func embed(step: Int, _ range: Range<Int>) throws -> Tensor {
        let embedded = try backbone.forward(
            images: source.inputs(step: step, microBatches: range), order: setup.backbone.isIdentity ? .nchw : .nhwc,
            at: BatchPlace(step: step, position: range.lowerBound * setup.configuration.batch.microBatch))
        // Here, and not on the shards, so that the message comes from the rank that it is about.
        let values = embedded.array(Float.self)
        if let bad = values.firstIndex(where: { !$0.isFinite }) {
            let sample = bad / setup.head.embeddingSize
            let position = range.lowerBound * setup.configuration.batch.microBatch + sample
            let layer = parameters.flatMap { setup.layout.firstNotFinite(in: $0) }
            throw Refusal(
                .notFinite,
                "the embedding of sample \(position) of the batch (\(source.indices(step: step, microBatches: range)[sample]) of the data) is not finite"
                    + (layer.map { "; nor are the parameters of layer \($0.name)" } ?? ""))
        }
        return embedded
    }

    private func softmax(
        _ id: StepID, _ exchange: Exchange, _ replies: [[Tensor]], _ shards: [Plan.Shard]
    ) throws -> WorkerResult<[Tensor]> {
        guard let labels, let batch = batch(id) else { throw HeadError(.phase, "there are no features to compare") }
        let result =
            exchange == .rows
            ? try head.softmax(pulled: replies, slices: shards.map(\.slices), batch: batch, begun: rows)
            : try head.merge(replies: replies, batch: batch)
        rows = nil
        output = result
        try recorder?.record(
            id, samples: source.indices(step: id.step, microBatches: microBatches), labels: labels,
            features: batch.features, output: result)
        return .softmax(result.backward, lossSums: result.lossSums)
    }

    /// The rank's part of the batch, once its features are computed.
    private func batch(_ id: StepID) -> WorkerHead.Batch? {
        guard let labels, let features else { return nil }
        let batch = setup.configuration.batch
        return WorkerHead.Batch(
            globalBatchSize: batch.size, microBatchSize: batch.microBatch, microBatches: microBatches,
            labels: labels.array(Int64.self), features: features, step: id.step, values: values)
    }

    /// The elements of the flat vector that are in dense slices, ascending.
    private func elements(_ slices: SliceSet) -> [Range<Int>] {
        setup.layout.ranges(ofSlices: slices, of: setup.configuration.denseSliceCount)
    }

    /// The part of the gradients f32 [K, P] that is in dense slices: [K, L], in the format that it is sent in.
    private func columns(of gradients: Tensor, _ slices: SliceSet) -> Tensor {
        let part = floats(of: gradients, slices)
        return setup.exchangedDenseGradients == .bf16 ? part.narrowed : part
    }

    private func floats(of gradients: Tensor, _ slices: SliceSet) -> Tensor {
        let ranges = elements(slices)
        let (rows, width) = (gradients.shape[0], gradients.shape[1])
        if rows == 1, ranges.count == 1 {
            return gradients.reshaped([width]).rows(ranges[0]).reshaped([1, ranges[0].count])
        }
        let part = Tensor(uninitialized: Float.self, shape: [rows, ranges.reduce(0) { $0 + $1.count }])
        gradients.withPointer(Float.self) { from in
            part.withMutablePointer(Float.self) { to in
                var next = 0
                for row in 0..<rows {
                    for range in ranges {
                        _ = UnsafeMutableBufferPointer(rebasing: to[next..<next + range.count]).update(
                            fromContentsOf: from[row * width + range.lowerBound..<row * width + range.upperBound])
                        next += range.count
                    }
                }
            }
        }
        return part
    }

    /// The squared norm of the whole gradient: the slices' norms added in their order.
    private func squaredNorm(_ replies: [[Tensor]], _ shards: [Plan.Shard]) throws -> Double {
        var norms = [Double](repeating: 0, count: setup.configuration.denseSliceCount)
        for (reply, shard) in zip(replies, shards) {
            guard reply.count == 1, reply[0].dtype == .f64, reply[0].shape == [shard.denseSlices.count] else {
                throw Refusal(
                    .malformed, "the squared norms of \(shard.shard) are not f64 [\(shard.denseSlices.count)]")
            }
            for (slice, value) in zip(shard.denseSlices.numbers, reply[0].array(Double.self)) { norms[slice] = value }
        }
        let total = norms.reduce(0, +)
        guard total.isFinite else {
            throw Refusal(.notFinite, "the norm of the backbone gradient is \(total.squareRoot())")
        }
        return total
    }

    private func install(_ payloads: [[Tensor]], _ shards: [Plan.Shard]) throws {
        let whole = Tensor(uninitialized: Float.self, shape: [setup.layout.count])
        for (payload, shard) in zip(payloads, shards) {
            let ranges = elements(shard.denseSlices)
            let count = ranges.reduce(0) { $0 + $1.count }
            guard payload.count == 1, payload[0].dtype == .f32, payload[0].shape == [count] else {
                throw Refusal(.malformed, "the parameters of \(shard.shard) are not f32 [\(count)]")
            }
            payload[0].withPointer(Float.self) { from in
                whole.withMutablePointer(Float.self) { to in
                    var next = 0
                    for range in ranges {
                        _ = UnsafeMutableBufferPointer(rebasing: to[range])
                            .update(fromContentsOf: from[next..<next + range.count])
                        next += range.count
                    }
                }
            }
        }
        try backbone.load(whole)
        parameters = whole
    }
}
