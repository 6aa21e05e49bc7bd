/// SGD with momentum and weight decay, and clipping of the gradient's global norm, as PyTorch defines them.
public struct DenseOptimizer: Sendable, Hashable, Codable {
    public var momentum: Float
    public var weightDecay: Float
    /// The norm above which the gradient is scaled down; infinite for no clipping.
    public var clipNorm: Double

    public init(momentum: Float = 0.9, weightDecay: Float = 5e-4, clipNorm: Double = 5) {
        self.momentum = momentum
        self.weightDecay = weightDecay
        self.clipNorm = clipNorm
    }

    /// min(1, clip / (norm + 1e-6)), as in `torch.nn.utils.clip_grad_norm_`.
    public func clipCoefficient(squaredNorm: Double) -> Float {
        Float(min(1, clipNorm / (squaredNorm.squareRoot() + 1e-6)))
    }

    /// Checks the fields.
    ///
    /// - Throws: `BackboneError` that names the field.
    public func validate() throws(BackboneError) {
        guard momentum >= 0, momentum < 1 else {
            throw BackboneError(.invalidConfiguration, "the momentum \(momentum) is not in [0, 1)")
        }
        guard weightDecay >= 0, weightDecay.isFinite else {
            throw BackboneError(
                .invalidConfiguration, "the weight decay \(weightDecay) is not a finite number from 0 up")
        }
        guard clipNorm > 0 else {
            throw BackboneError(.invalidConfiguration, "the clipping norm \(clipNorm) is not above 0")
        }
    }
}
