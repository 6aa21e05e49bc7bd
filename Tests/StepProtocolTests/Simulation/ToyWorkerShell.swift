internal import StepProtocol

/// Executes a worker's computations on the toy model.
struct ToyWorkerShell {
    let sabotage: Sabotage?
    private var parameters: Words = []
    private var microBatches = 0..<0
    private var labels: Words = []
    private var features: Words = []
    private var normalizers: Words = []
    private var shardCount = 0

    init(sabotage: Sabotage?) { self.sabotage = sabotage }

    /// - Returns: nil for `install`.
    mutating func execute(
        _ computation: WorkerComputation<Words>, _ id: StepID
    ) throws(Violation) -> WorkerResult<Words>? {
        switch computation {
        case .labels(let range):
            return .labels(range.map { Toy.label(step: id.step, microBatch: $0) })
        case .embed(let range):
            microBatches = range
            labels = range.map { Toy.label(step: id.step, microBatch: $0) }
            if parameters.isEmpty { throw Violation("a worker computes \(id) without parameters") }
            features = labels.map { [parameters] in Toy.feature(parameters: parameters, label: $0) }
            return .embed(features)
        case .softmax(let exchange, let replies):
            shardCount = replies.count
            let partials: [Words]  // by shard, then micro-batch
            switch exchange {
            case .features: partials = replies
            case .rows:
                partials = replies.map { rows in features.map { Toy.partial(sampled: rows[0], feature: $0) } }
            }
            normalizers = features.indices.map { batch in Toy.normalizer(partials: partials.map { $0[batch] }) }
            let backward = replies.map { rows in
                exchange == .features
                    ? normalizers
                    : zip(normalizers, features).map { Toy.rowGradient(normalizer: $0, feature: $1, sampled: rows[0]) }
            }
            return .softmax(backward, lossSums: normalizers.map(Toy.loss))
        case .backpropagate:
            return .backpropagate(
                (0..<shardCount).map { shard in
                    zip(normalizers, features).map { Toy.denseGradient(normalizer: $0, feature: $1, shard: shard) }
                })
        case .norm(let replies):
            let norm = Toy.norm(replies: replies.map { $0[0] })
            return .norm([norm], gradientNorm: Toy.gradientNorm(norm))
        case .install(_, let payloads, let after):
            if sabotage == .keepsTentativeParameters && after == nil && !parameters.isEmpty { return nil }
            parameters = payloads.map { $0[0] }
            return nil
        }
    }
}
