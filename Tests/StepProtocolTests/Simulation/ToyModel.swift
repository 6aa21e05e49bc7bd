internal import Determinism
internal import StepProtocol

/// What travels in the simulation instead of tensors.
typealias Words = [UInt64]

/// A model as small as can be in which everything depends on everything: hashes instead of sums.
///
/// Each shard holds one center word and one backbone word. Every value is of one micro-batch and folded in micro-batch
/// order, so that the world must not matter and everything else does.
enum Toy {
    static func mix(_ words: UInt64...) -> UInt64 { fold(words) }

    static func fold(_ words: some Sequence<UInt64>) -> UInt64 {
        words.reduce(0x5EED) { KeyedRandom.mix(($0 &+ 0x9E37_79B9_7F4A_7C15) ^ KeyedRandom.mix($1)) }
    }

    static func label(step: Int, microBatch: Int) -> UInt64 { mix(1, UInt64(step), UInt64(microBatch)) }
    static func feature(parameters: Words, label: UInt64) -> UInt64 { mix(2, fold(parameters), label) }
    static func sampled(center: UInt64, step: Int, labels: Words) -> UInt64 {
        mix(3, center, UInt64(step), fold(labels))
    }
    static func partial(sampled: UInt64, feature: UInt64) -> UInt64 { mix(4, sampled, feature) }
    static func normalizer(partials: Words) -> UInt64 { mix(5, fold(partials)) }
    static func loss(normalizer: UInt64) -> Double { Double(normalizer >> 44) / 8 }
    static func rowGradient(normalizer: UInt64, feature: UInt64, sampled: UInt64) -> UInt64 {
        mix(6, normalizer, feature, sampled)
    }
    static func denseGradient(normalizer: UInt64, feature: UInt64, shard: Int) -> UInt64 {
        mix(7, normalizer, feature, UInt64(shard))
    }
    static func norm(replies: Words) -> UInt64 { mix(8, fold(replies)) }
    static func gradientNorm(_ norm: UInt64) -> Double { Double(norm >> 11) }
    static func learningRate(_ step: Int) -> Float { 1 / Float(step + 1) }
}

/// The state of one shard.
struct ToyState: Hashable {
    var center: UInt64
    var dense: UInt64

    static func initial(shard: Int) -> ToyState {
        ToyState(center: Toy.mix(10, UInt64(shard)), dense: Toy.mix(11, UInt64(shard)))
    }

    mutating func update(step: Int, rowGradients: Words, denseGradients: Words, norm: UInt64, learningRate: Float) {
        center = Toy.mix(center, Toy.fold(rowGradients), UInt64(step), UInt64(learningRate.bitPattern))
        dense = Toy.mix(dense, Toy.fold(denseGradients), norm)
    }
}

/// The undisturbed run, computed without any of the machines.
struct ToyRun {
    /// By step, then shard.
    var states: [[ToyState]] = []
    var losses: [Double] = []
    var gradientNorms: [Double] = []

    init(shards: Int, microBatches: Int, batchSize: Int, steps: Int) {
        var state = (0..<shards).map(ToyState.initial)
        for step in 0..<steps {
            let labels = (0..<microBatches).map { Toy.label(step: step, microBatch: $0) }
            let sampled = state.map { Toy.sampled(center: $0.center, step: step, labels: labels) }
            let features = labels.map { Toy.feature(parameters: state.map(\.dense), label: $0) }
            let normalizers = features.map { feature in
                Toy.normalizer(partials: sampled.map { Toy.partial(sampled: $0, feature: feature) })
            }
            let dense = (0..<shards).map { shard in
                (0..<microBatches).map {
                    Toy.denseGradient(normalizer: normalizers[$0], feature: features[$0], shard: shard)
                }
            }
            let norm = Toy.norm(replies: dense.map { Toy.mix(9, Toy.fold($0)) })
            for shard in 0..<shards {
                let rows = (0..<microBatches).map {
                    Toy.rowGradient(normalizer: normalizers[$0], feature: features[$0], sampled: sampled[shard])
                }
                state[shard].update(
                    step: step, rowGradients: rows, denseGradients: dense[shard], norm: norm,
                    learningRate: Toy.learningRate(step))
            }
            states.append(state)
            losses.append(normalizers.map(Toy.loss).reduce(0, +) / Double(batchSize))
            gradientNorms.append(Toy.gradientNorm(norm))
        }
    }
}
