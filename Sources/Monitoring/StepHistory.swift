public import OperatorStatus

/// The figures of a run's steps in bounded memory: when there are too many points, every two neighbours become one.
///
/// Which steps share a point depends on the step numbers alone, so that it does not matter when a coordinator began to look.
public struct StepHistory: Sendable {
    /// A sum over the steps of a point that have the figure.
    private struct Mean: Sendable {
        var sum = 0.0
        var count = 0

        mutating func add(_ value: Double?) {
            guard let value, value.isFinite else { return }
            sum += value
            count += 1
        }

        static func + (a: Mean, b: Mean) -> Mean { Mean(sum: a.sum + b.sum, count: a.count + b.count) }

        /// Nil also where it is more than a float can be: JSON has no infinity.
        var value: Float? {
            let mean = Float(sum / Double(max(1, count)))
            return count > 0 && mean.isFinite ? mean : nil
        }
    }

    private struct Point: Sendable {
        var index: Int
        var steps = 0
        var loss = Mean()
        var learningRate = Mean()
        var gradientNorm = Mean()
        var seconds = Mean()
        var backbone = Mean()
        var exchange = Mean()
        var update = Mean()

        mutating func add(_ step: StepFigures) {
            steps += 1
            loss.add(step.loss)
            learningRate.add(step.learningRate)
            gradientNorm.add(step.gradientNorm)
            seconds.add(step.seconds)
            backbone.add(step.backboneSeconds)
            exchange.add(step.exchangeSeconds)
            update.add(step.updateSeconds)
        }

        mutating func merge(_ other: Point) {
            steps += other.steps
            loss = loss + other.loss
            learningRate = learningRate + other.learningRate
            gradientNorm = gradientNorm + other.gradientNorm
            seconds = seconds + other.seconds
            backbone = backbone + other.backbone
            exchange = exchange + other.exchange
            update = update + other.update
        }
    }

    /// The most points that are kept.
    public let capacity: Int
    private let totalSteps: Int
    private let batchSize: Int
    private var stepsPerPoint = 1
    private var points: [Point] = []
    private var lastStep = -1
    private var evaluations: [ClusterStatus.Evaluation] = []

    /// Evaluations that are kept; of more every second one of each set goes, but for the last.
    static let evaluationLimit = 2000

    /// - Parameter capacity: at least 2.
    public init(totalSteps: Int, batchSize: Int, capacity: Int = 2048) {
        precondition(capacity >= 2, "a history of \(capacity) points")
        self.capacity = capacity
        self.totalSteps = totalSteps
        self.batchSize = batchSize
    }

    /// Appends a committed step. One that is not after the last one takes the place of it and of what came after.
    public mutating func append(_ step: StepFigures) {
        let index = step.step / stepsPerPoint
        if step.step <= lastStep { points.removeAll { $0.index >= index } }
        lastStep = step.step
        if points.last?.index != index { points.append(Point(index: index)) }
        points[points.count - 1].add(step)
        while points.count > capacity { halve() }
    }

    /// Appends an evaluation.
    public mutating func append(_ evaluation: ClusterStatus.Evaluation) {
        evaluations.removeAll { $0.name == evaluation.name && $0.step >= evaluation.step }
        evaluations.append(evaluation)
        guard evaluations.count > Self.evaluationLimit else { return }
        var seen: [String: Int] = [:]
        evaluations = evaluations.reversed().filter {
            seen[$0.name, default: 0] += 1
            return seen[$0.name, default: 0] % 2 == 1
        }.reversed()
    }

    private mutating func halve() {
        stepsPerPoint *= 2
        points = Self.joined(points, 2)
    }

    /// Points of `factor` times as many steps.
    private static func joined(_ points: [Point], _ factor: Int) -> [Point] {
        var joined: [Point] = []
        for var point in points {
            point.index /= factor
            if joined.last?.index == point.index {
                joined[joined.count - 1].merge(point)
            } else {
                joined.append(point)
            }
        }
        return joined
    }

    /// The run in at most `limit` points, or one if that is less.
    public func history(limit: Int) -> RunHistory {
        var (points, width) = (points, stepsPerPoint)
        while points.count > max(limit, 1) {
            points = Self.joined(points, 2)
            width *= 2
        }
        var history = RunHistory(totalSteps: totalSteps, batchSize: batchSize, stepsPerPoint: width)
        history.step = points.map { $0.index * width }
        history.steps = points.map(\.steps)
        history.loss = points.map(\.loss.value)
        history.learningRate = points.map(\.learningRate.value)
        history.gradientNorm = points.map(\.gradientNorm.value)
        history.seconds = points.map(\.seconds.value)
        history.samplesPerSecond = history.seconds.map { seconds in
            seconds.map { Float(batchSize) / $0 }.flatMap { $0.isFinite ? $0 : nil }
        }
        history.backboneSeconds = points.map(\.backbone.value)
        history.exchangeSeconds = points.map(\.exchange.value)
        history.updateSeconds = points.map(\.update.value)
        history.evaluations = evaluations
        return history
    }
}
