internal import StepProtocol

/// A fault built into a shell, to show that the simulation finds it.
enum Sabotage: String, CaseIterable, Sendable {
    /// A repeated `update` is applied again.
    case appliesRepeatedUpdate
    /// An aborted attempt is not undone.
    case forgetsRollback
    /// Any rank's labels are good enough to sample, when a rank's request is repeated it is taken for another rank's.
    case swapsRanks
    /// A worker goes on with parameters of an attempt that was aborted.
    case keepsTentativeParameters
    /// The parameters that a worker asks for include an update that is not committed.
    case commitsWhenPrepared
}

/// Executes a shard's computations on the toy model and checks what must hold.
struct ToyShardShell {
    typealias Computation = ShardComputation<Words>

    let shard: Int
    let microBatches: Int
    let sabotage: Sabotage?
    private(set) var state: ToyState
    private(set) var committed = -1
    /// The state before the attempt that changed it.
    private var undo: ToyState?
    private var ranges: [Range<Int>] = []
    private var sampled: UInt64 = 0
    private var exchange = Exchange.rows
    private var rowGradients: Words = []
    private var denseGradients: Words = []

    init(shard: Int, microBatches: Int, sabotage: Sabotage?) {
        self.shard = shard
        self.microBatches = microBatches
        self.sabotage = sabotage
        state = .initial(shard: shard)
    }

    /// The words of all micro-batches, from those of each rank.
    private func assemble(_ payloads: [Words]) throws(Violation) -> Words {
        var words = Words(repeating: 0, count: microBatches)
        for (range, payload) in zip(ranges, payloads) {
            guard range.count == payload.count else {
                throw Violation("shard-\(shard): \(payload.count) words for micro-batches \(range)")
            }
            words.replaceSubrange(range, with: payload)
        }
        return words
    }

    /// - Returns: nil for `commit` and `rollback`.
    mutating func execute(_ computation: Computation, _ id: StepID, _ oracle: ToyRun) throws(Violation) -> ShardResult<
        Words
    >? {
        switch computation {
        case .sample(let ranks, _, let exchange):
            if undo != nil { throw Violation("shard-\(shard) samples \(id) while an update is not committed") }
            self.exchange = exchange
            ranges = ranks.map(\.microBatches)
            if sabotage == .swapsRanks { ranges.sort { $0.upperBound > $1.upperBound } }
            rowGradients = []
            denseGradients = []
            let labels = try assemble(ranks.map(\.payload))
            sampled = Toy.sampled(center: state.center, step: id.step, labels: labels)
            return .sample([sampled])
        case .forward(let rank, let features):
            switch exchange {
            case .rows: return .forward(rank: rank, [sampled])
            case .features:
                return .forward(rank: rank, features.map { Toy.partial(sampled: sampled, feature: $0) })
            }
        case .backward(let forward, let backward):
            let words = try assemble(backward)
            switch exchange {
            case .rows: rowGradients = words
            case .features:
                rowGradients = zip(words, try assemble(forward)).map {
                    Toy.rowGradient(normalizer: $0, feature: $1, sampled: sampled)
                }
            }
            return .backward
        case .dense(let payloads):
            denseGradients = try assemble(payloads)
            return .dense([Toy.mix(9, Toy.fold(denseGradients))])
        case .update(let payload, let learningRate):
            if undo != nil && sabotage == nil { throw Violation("shard-\(shard) applies \(id) twice") }
            if sabotage != .commitsWhenPrepared { undo = undo ?? state }
            state.update(
                step: id.step, rowGradients: rowGradients, denseGradients: denseGradients, norm: payload[0],
                learningRate: learningRate)
            return .update([state.dense])
        case .parameters(let rank):
            if undo != nil && sabotage == nil { throw Violation("shard-\(shard) gives parameters not committed") }
            return .parameters(rank: rank, [state.dense])
        case .rollback:
            if let undo, sabotage != .forgetsRollback { state = undo }
            undo = nil
            return nil
        case .commit:
            guard id.step == committed + 1 else {
                throw Violation("shard-\(shard) commits \(id) after step \(committed)")
            }
            guard state == oracle.states[id.step][shard] else {
                throw Violation("shard-\(shard) differs from the undisturbed run after \(id)")
            }
            committed = id.step
            undo = nil
            return nil
        }
    }
}
