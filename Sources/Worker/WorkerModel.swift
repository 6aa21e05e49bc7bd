import Backbone
import Dataset
import Determinism
import MemberSupport
import PartialFC
import RunConfiguration
import RunSetup
import StepProtocol
import Tensors
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
    private var microBatches = 0..<0
    private var labels: Tensor?
    private var features: Tensor?
    private var output: WorkerHead.Output?

    /// - Throws: `DatasetError`, `HeadError` or `BackboneError` if the configuration does not fit the data.
    init(setup: RunSetup, data: TrainingData, threads: Int, record: String?) throws {
        self.setup = setup
        source = try StepSource(data, setup.configuration)
        head = try WorkerHead(configuration: setup.head, threads: threads)
        backbone = try BackboneWorker(
            configuration: setup.backbone, microBatchSize: setup.configuration.batch.microBatch,
            blocks: ParallelBlocks(threads: threads))
        recorder = record.map { StepRecorder(directory: $0) }
    }

    /// How many images did not decode and were replaced, and what was wrong with the first of them. From any thread.
    var replaced: (count: Int, problems: [DatasetError]) { source.replaced }

    /// Executes a computation of a step with these shards.
    ///
    /// - Returns: its result, nil for `install`.
    /// - Throws: `Refusal` if it refuses its input.
    func perform(
        _ id: StepID, _ computation: WorkerComputation<[Tensor]>, shards: [Plan.Shard]
    ) throws(Refusal) -> WorkerResult<[Tensor]>? {
        do { return try execute(id, computation, shards) } catch { throw Refusal(error) }
    }

    /// Forgets the results of an attempt that is over.
    func abandon() {
        labels = nil
        features = nil
        output = nil
    }

    private func execute(
        _ id: StepID, _ computation: WorkerComputation<[Tensor]>, _ shards: [Plan.Shard]
    ) throws -> WorkerResult<[Tensor]>? {
        switch computation {
        case .labels(let range):
            let tensor = source.labels(step: id.step, microBatches: range)
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
                output.featureGradient, microBatches: microBatches, of: setup.configuration.microBatchCount)
            return .backpropagate(shards.map { [nodes, columns(of: gradients, $0)] })
        case .norm(let replies):
            let squared = try squaredNorm(replies, shards)
            return .norm([Tensor([squared])], gradientNorm: squared.squareRoot())
        case .install(_, let payloads, _):
            try install(payloads, shards)
            return nil
        }
    }

    private func embed(step: Int, _ range: Range<Int>) throws -> Tensor {
        switch source {
        case .images(let loader):
            return try backbone.forward(images: loader.batch(step: step, microBatches: range).images, order: .nhwc)
        case .features(let stored, _, _):
            return try backbone.forward(
                images: stored.samples(source.indices(step: step, microBatches: range)).features)
        }
    }

    private func softmax(
        _ id: StepID, _ exchange: Exchange, _ replies: [[Tensor]], _ shards: [Plan.Shard]
    ) throws -> WorkerResult<[Tensor]> {
        guard let labels, let features else { throw HeadError(.phase, "there are no features to compare") }
        let configuration = setup.configuration
        let batch = WorkerHead.Batch(
            globalBatchSize: configuration.batch.size, microBatchSize: configuration.batch.microBatch,
            microBatches: microBatches, labels: labels.array(Int64.self), features: features)
        let result =
            exchange == .rows
            ? try head.softmax(pulled: replies, slices: shards.map(\.slices), batch: batch)
            : try head.merge(replies: replies, batch: batch)
        output = result
        try recorder?.record(
            id, samples: source.indices(step: id.step, microBatches: microBatches), labels: labels, features: features,
            output: result)
        return .softmax(result.backward, lossSums: result.lossSums)
    }

    /// The part of the gradients f32 [K, P] that a shard owns, f32 [K, L].
    private func columns(of gradients: Tensor, _ shard: Plan.Shard) -> Tensor {
        let range = setup.layout.range(ofSlices: shard.denseSlices, of: setup.configuration.backbone.denseSlices)
        let (rows, width) = (gradients.shape[0], gradients.shape[1])
        if rows == 1 { return gradients.reshaped([width]).rows(range).reshaped([1, range.count]) }
        let part = Tensor(uninitialized: Float.self, shape: [rows, range.count])
        let (from, to) = (gradients.buffer(Float.self), part.mutable(Float.self))
        for row in 0..<rows where !range.isEmpty {
            _ = UnsafeMutableBufferPointer(rebasing: to[row * range.count..<(row + 1) * range.count])
                .update(fromContentsOf: from[row * width + range.lowerBound..<row * width + range.upperBound])
        }
        return part
    }

    /// The squared norm of the whole gradient: the slices' norms added in their order.
    private func squaredNorm(_ replies: [[Tensor]], _ shards: [Plan.Shard]) throws -> Double {
        var total = 0.0
        for (reply, shard) in zip(replies, shards) {
            guard reply.count == 1, reply[0].dtype == .f64, reply[0].shape == [shard.denseSlices.count] else {
                throw Refusal(
                    .malformed, "the squared norms of \(shard.shard) are not f64 [\(shard.denseSlices.count)]")
            }
            for value in reply[0].buffer(Double.self) { total += value }
        }
        guard total.isFinite else {
            throw Refusal(.notFinite, "the norm of the backbone gradient is \(total.squareRoot())")
        }
        return total
    }

    private func install(_ payloads: [[Tensor]], _ shards: [Plan.Shard]) throws {
        let whole = Tensor(uninitialized: Float.self, shape: [setup.layout.count])
        for (payload, shard) in zip(payloads, shards) {
            let range = setup.layout.range(ofSlices: shard.denseSlices, of: setup.configuration.backbone.denseSlices)
            guard payload.count == 1, payload[0].dtype == .f32, payload[0].shape == [range.count] else {
                throw Refusal(.malformed, "the parameters of \(shard.shard) are not f32 [\(range.count)]")
            }
            _ = UnsafeMutableBufferPointer(rebasing: whole.mutable(Float.self)[range])
                .update(from: payload[0].buffer(Float.self))
        }
        try backbone.load(whole)
        parameters = whole
    }
}
