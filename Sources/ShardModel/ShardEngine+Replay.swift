internal import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
internal import Tensors

/// Steps done again from what was kept of them.
extension ShardEngine {
    func replay(_ record: LogRecord, centers: SliceSet, ahead: [Int: [Int]]) throws {
        guard record.header.kind == .features || record.header.kind == .rows, !centers.isEmpty else { return }
        try head.replay(
            step: record.header.step, microBatchSize: setup.microBatchSize, inputs: StepInputs(record),
            learningRate: record.header.learningRate, slices: centers, ahead: ahead, sampled: sampled)
    }

    /// - Parameter gradient: of the dense slices that the record names.
    func replay(
        _ record: LogRecord, dense part: inout DenseShard, ahead: [Int: [Int]], gradient: Tensor?, commit: Bool = true
    ) throws {
        guard record.header.kind == .features || record.header.kind == .rows else { return }
        guard let gradient else {
            throw HeadError(.malformed, "the record of step \(record.header.step) has no dense gradient")
        }
        try part.replay(
            step: record.header.step, gradient: gradient, of: record.header.denseSlices,
            totalSquaredNorm: record.header.squaredNorm, learningRate: Double(record.header.learningRate), ahead: ahead,
            commit: commit)
    }
}
