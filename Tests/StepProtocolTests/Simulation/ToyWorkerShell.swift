internal import Cluster
internal import StepProtocol

/// A computation that refuses its input.
struct ToyRefusal: Error {
    let message: String
}

/// Executes a worker's computations on the toy model.
struct ToyWorkerShell {
    let sabotage: Sabotage?
    /// Whether another attempt has other data.
    let variesInputs: Bool
    /// The job that the worker is a rank of.
    weak var job: ToyJob?
    /// How many operations on the classes it has taken over.
    var classVersion = 0
    /// Those that were installed last.
    private(set) var parameters: Words = []
    private var microBatches = 0..<0
    private var features: Words = []
    private var normalizers: Words = []

    init(_ scenario: Scenario) { (sabotage, variesInputs) = (scenario.sabotage, scenario.variesInputs) }

    /// - Parameter plan: the one that the attempt belongs to.
    /// - Returns: nil for `install`.
    mutating func execute(
        _ computation: WorkerComputation<Words>, _ id: StepID, plan: Plan, isPoisoned: Bool
    ) throws -> WorkerResult<Words>? {
        let classVersion = classVersion
        func label(_ microBatch: Int) -> UInt64 {
            Toy.label(
                step: id.step, microBatch: microBatch, classVersion: classVersion,
                inputs: job.map { $0.inputs &+ (sabotage == .inventsInputs ? UInt64(id.attempt) : 0) }
                    ?? (variesInputs ? Toy.inputs(of: id) : 0))
        }
        switch computation {
        case .labels(let range): return .labels(range.map(label))
        case .embed(let range):
            microBatches = range
            if let job {
                guard let own = job.parameters(after: id.step - 1) else {
                    throw Violation("job \(job.id) is to compute \(id), and does not hold the state before it")
                }
                parameters = own
            }
            if parameters.isEmpty { throw Violation("a worker computes \(id) without parameters") }
            features = range.map { [parameters] in Toy.feature(parameters: parameters, label: label($0)) }
            return .embed(features)
        case .softmax(let exchange, let replies):
            if isPoisoned { throw ToyRefusal(message: "the loss is nan") }
            let result = softmax(exchange, replies, plan)
            job?.post(id.step, microBatches, features: features, normalizers: normalizers)
            return result
        case .backpropagate:
            return .backpropagate(
                plan.shards.map { shard in
                    zip(normalizers, features).flatMap { normalizer, feature in
                        (shard.denseSlices.numbers + shard.keptDense.numbers).map {
                            Toy.denseGradient(normalizer: normalizer, feature: feature, slice: $0)
                        }
                    }
                })
        case .norm(let replies):
            var words = Words(repeating: 0, count: Toy.denseSlices)
            for (shard, reply) in zip(plan.shards, replies) {
                for (slice, word) in zip(shard.denseSlices.numbers, reply) { words[slice] = word }
            }
            let norm = Toy.norm(replies: words)
            return .norm([norm], gradientNorm: Toy.gradientNorm(norm))
        case .install(_, let payloads, let after):
            if sabotage == .keepsTentativeParameters && after == nil && !parameters.isEmpty { return nil }
            var words = Words(repeating: 0, count: Toy.denseSlices * Toy.rowsPerSlice)
            for (shard, payload) in zip(plan.shards, payloads) {
                let rows = shard.denseSlices.numbers.flatMap { Toy.rows($0) }
                if rows.count != payload.count { throw Violation("\(payload.count) parameters for \(rows.count)") }
                for (row, word) in zip(rows, payload) { words[row] = word }
            }
            parameters = words
            return nil
        }
    }

    private mutating func softmax(_ exchange: Exchange, _ replies: [Words], _ plan: Plan) -> WorkerResult<Words> {
        var partials = [Words](repeating: Words(repeating: 0, count: Toy.slices), count: features.count)
        for (shard, reply) in zip(plan.shards, replies) {
            let slices = shard.slices.numbers
            for (position, slice) in slices.enumerated() {
                for batch in features.indices {
                    partials[batch][slice] =
                        switch exchange {
                        case .features: reply[batch * slices.count + position]
                        case .rows: Toy.partial(sampled: reply[Toy.rows(position)], feature: features[batch])
                        }
                }
            }
        }
        let head = plan.head ?? Toy.head(0)
        normalizers = partials.map { Toy.normalizer(partials: $0, head: head) }
        let backward = replies.map { rows in
            exchange == .features
                ? normalizers
                : zip(normalizers, features).flatMap { normalizer, feature in
                    rows.map { Toy.rowGradient(normalizer: normalizer, feature: feature, sampled: $0) }
                }
        }
        return .softmax(backward, lossSums: normalizers.map(Toy.loss))
    }
}
