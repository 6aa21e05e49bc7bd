/// What there is to draw of a committed step.
public struct StepFigures: Sendable, Equatable {
    public var step: Int
    /// Nil if the step was skipped.
    public var loss: Double?
    public var gradientNorm: Double?
    public var learningRate: Double
    /// From the plan to the commit.
    public var seconds: Double
    /// How often it was begun.
    public var attempts: Int
    /// The parts of the slowest worker's step: in the backbone, waiting for shards, and of that for their update. Nil if no
    /// worker is known.
    public var backboneSeconds: Double?
    public var exchangeSeconds: Double?
    public var updateSeconds: Double?

    public init(
        step: Int, loss: Double?, gradientNorm: Double? = nil, learningRate: Double, seconds: Double, attempts: Int = 1,
        backboneSeconds: Double? = nil, exchangeSeconds: Double? = nil, updateSeconds: Double? = nil
    ) {
        self.step = step
        self.loss = loss
        self.gradientNorm = gradientNorm
        self.learningRate = learningRate
        self.seconds = seconds
        self.attempts = attempts
        self.backboneSeconds = backboneSeconds
        self.exchangeSeconds = exchangeSeconds
        self.updateSeconds = updateSeconds
    }
}
