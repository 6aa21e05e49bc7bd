package import Model
package import ParameterStore

/// What a shard must know of a run to compute its part of it.
package struct ShardSetup: Sendable {
    /// The class centers and the loss.
    package var head: HeadConfiguration
    /// Where the backbone's parameters lie in their flat vector.
    package var layout: ParameterLayout
    /// How these change.
    package var optimizer: DenseOptimizer
    /// What the gradients of these are sent and logged in: f32 or bf16.
    package var exchangedDenseGradients: NumberFormat
    /// Dense slices that the flat vector is cut into.
    package var denseSliceCount: Int
    /// Samples of a micro-batch.
    package var microBatchSize: Int
    /// Micro-batches of a global batch.
    package var microBatchCount: Int
    /// A safetensors file with centers to start from; empty for random ones.
    package var initialCenters: String
    /// A safetensors file with the backbone to start from; empty for random values.
    package var initialBackbone: String
    /// A safetensors file whose `sampled` replaces random negatives in every step; empty for random ones.
    package var sampledClasses: String

    package init(
        head: HeadConfiguration, layout: ParameterLayout, optimizer: DenseOptimizer, denseSliceCount: Int,
        microBatchSize: Int, microBatchCount: Int, exchangedDenseGradients: NumberFormat = .f32,
        initialCenters: String = "", initialBackbone: String = "", sampledClasses: String = ""
    ) {
        self.head = head
        self.layout = layout
        self.optimizer = optimizer
        self.exchangedDenseGradients = exchangedDenseGradients
        self.denseSliceCount = denseSliceCount
        self.microBatchSize = microBatchSize
        self.microBatchCount = microBatchCount
        self.initialCenters = initialCenters
        self.initialBackbone = initialBackbone
        self.sampledClasses = sampledClasses
    }
}
