/// The optimiser of the backbone: how its parameters change, which of them decay, and clipping of the gradient's global norm as
/// PyTorch defines it.
public struct DenseOptimizer: Sendable, Hashable, Codable {
    public var rule: Optimizer
    /// What weight decay is applied to.
    public var decay: DecayGroup
    /// The norm above which the gradient is scaled down; infinite for no clipping.
    public var clipNorm: Double

    /// What weight decay is applied to.
    public enum DecayGroup: String, Sendable, Hashable, Codable, CaseIterable {
        /// Every trained parameter.
        case all
        /// Weights of convolutions and linear layers: not biases, normalisations and slopes of PReLU.
        case weights
    }

    public init(rule: Optimizer = .sgd(.init()), decay: DecayGroup = .all, clipNorm: Double = 5) {
        self.rule = rule
        self.decay = decay
        self.clipNorm = clipNorm
    }

    /// min(1, clip / (norm + 1e-6)), as in `torch.nn.utils.clip_grad_norm_`.
    public func clipCoefficient(squaredNorm: Double) -> Float {
        Float(min(1, clipNorm / (squaredNorm.squareRoot() + 1e-6)))
    }

    /// Whether weight decay is applied to a segment. Weights are what has more than one dimension, as is usual.
    func decays(_ segment: ParameterLayout.Segment) -> Bool { decay == .all || segment.shape.count > 1 }

    /// Checks the fields.
    ///
    /// - Throws: `BackboneError` that names the field.
    public func validate() throws(BackboneError) {
        if let problem = rule.problem { throw BackboneError(.invalidConfiguration, problem) }
        guard clipNorm > 0 else {
            throw BackboneError(.invalidConfiguration, "the clipping norm \(clipNorm) is not above 0")
        }
    }
}
