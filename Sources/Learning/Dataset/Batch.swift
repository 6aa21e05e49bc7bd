public import Tensors

/// The images and labels of some micro-batches of a step.
public struct Batch: Sendable {
    /// f32, [n, channels, height, width] or [n, height, width, channels], values in [−1, 1].
    public var images: Tensor
    /// i64 [n].
    public var labels: Tensor

    public init(images: Tensor, labels: Tensor) {
        self.images = images
        self.labels = labels
    }
}
