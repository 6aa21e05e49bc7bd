package import CKernels
public import ParameterStore

/// What changes parameters by their gradients, and what it keeps beside them.
public enum Optimizer: Sendable, Hashable, Codable {
    case sgd(SGD)
    case adamW(AdamW)

    /// Stochastic gradient descent with momentum and weight decay, as `torch.optim.SGD` defines it:
    /// v' = μ·v + (g + λ·p), p' = p − rate·v'.
    public struct SGD: Sendable, Hashable, Codable {
        /// μ, in 0..<1.
        public var momentum: Float
        /// λ, from 0 up.
        public var weightDecay: Float
        /// How the momentum of class centers is kept; that of the backbone is f32.
        public var storage: NumberFormat

        public init(momentum: Float = 0.9, weightDecay: Float = 5e-4, storage: NumberFormat = .f32) {
            self.momentum = momentum
            self.weightDecay = weightDecay
            self.storage = storage
        }
    }

    /// AdamW (Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, arXiv 1711.05101, algorithm 2), as `torch.optim.AdamW`
    /// defines it. With t the number of steps that the parameter has taken part in, this one included:
    /// m' = β₁·m + (1 − β₁)·g, v' = β₂·v + (1 − β₂)·g², p' = (1 − rate·λ)·p − rate·m'/(1 − β₁ᵗ) / (√(v'/(1 − β₂ᵗ)) + ε).
    ///
    /// For class centers it is sparse by row: a row that is not sampled stays as it is, with its moments and its age t. The backbone
    /// takes part in every step, so that t is the number of the step and one.
    public struct AdamW: Sendable, Hashable, Codable {
        /// β₁ and β₂, in 0..<1.
        public var beta1: Double
        public var beta2: Double
        /// ε, above 0.
        public var epsilon: Float
        /// λ, from 0 up.
        public var weightDecay: Float
        /// How the moments are kept, of class centers and backbone alike: f32, or bf16 (rounded stochastically).
        public var storage: NumberFormat

        public init(
            beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Float = 1e-8, weightDecay: Float = 5e-4,
            storage: NumberFormat = .f32
        ) {
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
            self.storage = storage
        }
    }

    public var weightDecay: Float {
        switch self {
        case .sgd(let sgd): sgd.weightDecay
        case .adamW(let adamW): adamW.weightDecay
        }
    }

    /// How what lies beside class centers is kept.
    public var storage: NumberFormat {
        switch self {
        case .sgd(let sgd): sgd.storage
        case .adamW(let adamW): adamW.storage
        }
    }

    /// What is kept beside class centers. The kernel knows the planes by their order.
    public var rowState: [Plane] {
        switch self {
        case .sgd(let sgd): [Plane("momentum", sgd.storage)]
        case .adamW(let adamW):
            [
                Plane("first_moment", adamW.storage), Plane("second_moment", adamW.storage),
                Plane("age", .f32, isPerRow: true),
            ]
        }
    }

    /// What is kept beside the parameters of the backbone.
    public var denseState: [Plane] {
        switch self {
        case .sgd: [Plane("momentum", .f32)]
        case .adamW: Array(rowState.prefix(2))
        }
    }

    /// How the backbone is kept.
    public var denseFormat: TableFormat { TableFormat(state: denseState) }

    /// What is wrong with a value, nil if nothing is.
    var problem: String? {
        guard weightDecay >= 0, weightDecay <= 1 else {
            return "the weight decay is \(weightDecay); it must be in 0...1"
        }
        switch self {
        case .sgd(let sgd):
            guard sgd.momentum >= 0, sgd.momentum < 1 else {
                return "the momentum is \(sgd.momentum); it must be in 0..<1"
            }
            guard sgd.storage != .none || sgd.momentum == 0 else {
                return
                    "momentum is not kept, but is \(sgd.momentum): set it to 0, or keep it as f32, bf16 or int8"
            }
        case .adamW(let adamW):
            guard adamW.beta1 >= 0, adamW.beta1 < 1, adamW.beta2 >= 0, adamW.beta2 < 1 else {
                return "the betas are \(adamW.beta1) and \(adamW.beta2); they must be in 0..<1"
            }
            guard adamW.epsilon > 0, adamW.epsilon <= 1 else {
                return "epsilon is \(adamW.epsilon); it must be above 0 and at most 1"
            }
            guard adamW.storage == .f32 || adamW.storage == .bf16 else {
                return "moments cannot be kept as \(adamW.storage): use f32 or bf16"
            }
        }
        return nil
    }

    /// The values that kernels read.
    package func kernel(learningRate: Float, decays: Bool = true) -> pfc_optimizer {
        let decay = decays ? weightDecay : 0
        switch self {
        case .sgd(let sgd):
            return pfc_optimizer(
                kind: pfc_optimizer_sgd, rate: learningRate, decay: decay, momentum: sgd.momentum, beta1: 0, beta2: 0,
                epsilon: 0)
        case .adamW(let adamW):
            return pfc_optimizer(
                kind: pfc_optimizer_adamw, rate: learningRate, decay: decay, momentum: 0, beta1: adamW.beta1,
                beta2: adamW.beta2, epsilon: adamW.epsilon)
        }
    }
}
