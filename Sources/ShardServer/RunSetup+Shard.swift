internal import Configuration
package import Setup
package import ShardModel

extension RunSetup {
    /// What a shard must know of this run.
    package var shard: ShardSetup {
        ShardSetup(
            head: head, layout: layout, optimizer: optimizer, denseSliceCount: configuration.denseSliceCount,
            microBatchSize: configuration.batch.microBatch, microBatchCount: configuration.microBatchCount,
            exchangedDenseGradients: exchangedDenseGradients,
            initialCenters: configuration.head.initial, initialBackbone: initialBackbone,
            sampledClasses: configuration.head.sampled)
    }
}
