internal import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
internal import Tensors

/// Steps done again from what was kept of them.
extension ShardEngine {
    /// Does a step again on those of the slices that are not ahead of it. Those of the backbone must not be active.
    ///
    /// - Parameter ahead: of slices whose pieces are as of different steps, the step of each. Pieces from this step or a later one stay
    ///   as they are.
    func replay(_ record: LogRecord, on slices: some Collection<SliceName>, ahead: [SliceName: [Int]]) throws {
        guard record.isReplayed else { return }
        let centers = slices.centers
        if !centers.isEmpty {
            try head.replay(
                step: record.header.step, microBatchSize: setup.microBatchSize, inputs: StepInputs(record),
                learningRate: record.header.learningRate, slices: centers, ahead: ahead.numbers(areDense: false),
                sampled: sampled, values: record.header.head)
        }
        let dense = slices.dense
        if dense.isEmpty { return }
        let (gradient, recorded) = try record.gradients()
        try self.dense.replay(
            step: record.header.step, gradient: gradient, of: recorded, on: dense,
            totalSquaredNorm: record.header.squaredNorm, learningRate: Double(record.header.learningRate),
            ahead: ahead.numbers(areDense: true))
    }

    /// Does the last step of the log again on everything that is active, and leaves it as one that is not committed.
    func replayUpToPrepared(_ record: LogRecord) throws {
        if record.isReplayed {
            try head.replayUpToPrepared(
                step: record.header.step, microBatchSize: setup.microBatchSize,
                inputs: StepInputs(record), learningRate: record.header.learningRate, sampled: sampled,
                values: record.header.head)
            let (gradient, recorded) = try record.gradients()
            try dense.replayUpToUpdated(
                step: record.header.step, gradient: gradient, of: recorded,
                totalSquaredNorm: record.header.squaredNorm, learningRate: Double(record.header.learningRate))
        }
        prepared = record.attempt
    }
}

extension LogRecord {
    /// Whether there is something to do again: a step that changed anything.
    fileprivate var isReplayed: Bool { header.kind.isComputed }

    /// The gradient of dense slices, and which they are.
    ///
    /// - Throws: `HeadError` if the record has none.
    fileprivate func gradients() throws -> (Tensor, SliceSet) {
        guard let gradient = denseGradient ?? (header.slices.isEmpty ? tensors.first : nil) else {
            throw HeadError(.malformed, "the record of step \(header.step) has no dense gradient")
        }
        return (gradient, header.denseSlices)
    }
}

extension [SliceName: [Int]] {
    /// Those of one kind, by number.
    fileprivate func numbers(areDense: Bool) -> [Int: [Int]] {
        [Int: [Int]](uniqueKeysWithValues: filter { $0.key.isDense == areDense }.map { ($0.key.number, $0.value) })
    }
}
