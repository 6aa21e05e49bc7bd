/// A run step by step, as far as it has come: the JSON of `/api/history`.
///
/// Every point stands for a run of steps: `step[i]` and those after it, `steps[i]` that are known. Figures are means over
/// them; nil where none is known, as for skipped steps, or for those that an earlier coordinator saw.
public struct RunHistory: Codable, Sendable, Equatable {
    public var totalSteps: Int
    public var batchSize: Int
    /// How many steps a point stands for, but for the last one.
    public var stepsPerPoint: Int
    /// The first step of every point, ascending.
    public var step: [Int] = []
    public var steps: [Int] = []
    public var loss: [Float?] = []
    public var learningRate: [Float?] = []
    public var gradientNorm: [Float?] = []
    public var samplesPerSecond: [Float?] = []
    /// Seconds from a plan to its commit.
    public var seconds: [Float?] = []
    /// The parts of the slowest worker's step: in the backbone, waiting for shards, and of that for their update.
    public var backboneSeconds: [Float?] = []
    public var exchangeSeconds: [Float?] = []
    public var updateSeconds: [Float?] = []
    /// Every evaluation, oldest first.
    public var evaluations: [ClusterStatus.Evaluation] = []

    public init(totalSteps: Int, batchSize: Int, stepsPerPoint: Int) {
        self.totalSteps = totalSteps
        self.batchSize = batchSize
        self.stepsPerPoint = stepsPerPoint
    }
}
