package import Cluster

extension StepReport {
    /// A report of a step by itself, without the ranks that computed it.
    package init(
        step: Int, loss: Double?, learningRate: Float = 0, head: HeadValues, attempts: Int = 1, worldSize: Int = 1,
        seconds: Double = 0
    ) {
        self.step = step
        self.loss = loss
        gradientNorm = nil
        self.learningRate = learningRate
        self.head = head
        self.attempts = attempts
        self.worldSize = worldSize
        self.seconds = seconds
        results = []
    }
}
