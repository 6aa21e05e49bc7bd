import Cluster
import Determinism
import Model
import ParameterStore
import PartialFC
import Tensors

/// Features and labels of a step, functions of their arguments.
func makeBatch(
    _ configuration: HeadConfiguration, size: Int, step: Int = 0, classes: Range<Int>? = nil
) -> (features: Tensor, labels: [Int64]) {
    var random = KeyedRandom(seed: 1, purpose: .test, UInt64(step), UInt64(size))
    let classes = classes ?? 0..<configuration.classCount
    let labels = (0..<size).map { _ in Int64(classes.lowerBound) + Int64(random.below(UInt64(classes.count))) }
    let values = (0..<size * configuration.embeddingSize).map { _ in Float(random.unit() * 2 - 1) }
    return (Tensor(values, shape: [size, configuration.embeddingSize]), labels)
}

/// The classes of a shard's active slices, ascending.
func classes(of shard: ShardHead) -> [Int64] {
    shard.activeSlices.numbers.flatMap { shard.table.layout.classes(of: $0).ids }.sorted()
}
