public import Cluster
public import Model
internal import ParameterStore
internal import Tensors

extension ShardHead {
    /// Does a step again from what was kept of it: the same kernels in the same order, the same bits.
    ///
    /// The slices may be active or not, and need not be all that are held: a slice depends on nothing but itself and the
    /// step's inputs. A step over other slices may be under way meanwhile. The classes must be those of the time of the step.
    ///
    /// - Parameters:
    ///   - inputs: of these slices, at least.
    ///   - microBatchSize: of the run; with features part of what gives the bits.
    ///   - ahead: how far the pieces of slices are that were not copied between the same steps: of each such slice, the step
    ///     after which each piece (`CenterTable.chunkRows` rows) was copied. Rows of pieces from this step or a later one keep
    ///     their values. Slices and pieces that are not named are not ahead.
    ///   - sampled, values: as in `begin`.
    /// - Throws: `HeadError` if a slice is not held or takes part in a step that is under way, or the inputs do not fit. Nothing
    ///   has changed then.
    public func replay(
        step number: Int, microBatchSize: Int, inputs: StepInputs, learningRate: Float, slices: SliceSet,
        ahead: [Int: [Int]] = [:], sampled: [Int64]? = nil, values: HeadValues? = nil
    ) throws(HeadError) {
        if let step, !slices.isDisjoint(with: step.sliceSet) {
            throw HeadError(.phase, "replay of step \(number) while the step is \(phase.rawValue)")
        }
        let behind = SliceSet(
            numbers: slices.numbers.filter {
                SliceShape.isBehind(number, pieces: ahead[$0], chunkCount: table.chunkCount(of: $0))
            })
        if behind.isEmpty { return }
        remember(
            try repeated(
                number, microBatchSize, inputs: inputs, learningRate: learningRate, slices: behind, ahead: ahead,
                sampled: sampled, values: values))
    }

    /// Does the last step of a log again up to *prepared*, over the active slices: `commit` and `rollback` end it, as they would
    /// have ended the step. Rows that are ahead (see `replay`) stay as they are in either case: a piece is copied only after a
    /// step was committed, so that there is nothing to take back.
    ///
    /// - Throws: as `replay` does.
    public func replayUpToPrepared(
        step number: Int, microBatchSize: Int, inputs: StepInputs, learningRate: Float, ahead: [Int: [Int]] = [:],
        sampled: [Int64]? = nil, values: HeadValues? = nil
    ) throws(HeadError) {
        try expect([.idle], "replay")
        step = try repeated(
            number, microBatchSize, inputs: inputs, learningRate: learningRate, slices: activeSlices, ahead: ahead,
            sampled: sampled, values: values)
        phase = .prepared
    }

    /// A step up to the update of the table.
    private func repeated(
        _ number: Int, _ microBatchSize: Int, inputs: StepInputs, learningRate: Float, slices: SliceSet,
        ahead: [Int: [Int]], sampled: [Int64]?, values: HeadValues?
    ) throws(HeadError) -> StepState {
        let labels = try logged(inputs.tensors[0], "labels", .i64)
        var state = try gather(
            step: number, microBatchSize: microBatchSize, labels: labels.array(Int64.self), slices: slices,
            sampled: sampled, values: values)
        state.ahead = rowsAhead(of: number, state, ahead)
        switch inputs {
        case .features(_, let features, let logZ, let terms):
            let gradients = try gradients(
                of: state, features: [features], logZ: [logZ], margins: [terms.margins], weights: [terms.weights])
            try update(state, gradients, learningRate: learningRate)
        case .rows:
            guard case .rows(_, _, let counts, let gradient) = try inputs.restricted(to: slices) else { return state }
            let kept = try StepInputs.sampledCounts(counts, of: slices, gradient)
            guard kept == state.counts, gradient.shape[1] == configuration.embeddingSize else {
                throw HeadError(
                    .malformed,
                    "row gradients of step \(number) are for other rows than the step samples now: another configuration, or a damaged log"
                )
            }
            try checkFinite(gradient: gradient, of: state)
            try update(state, gradient: gradient, learningRate: learningRate)
            state.gradient = gradient
        }
        state.inputs = inputs
        state.appliedRate = learningRate
        return state
    }

    private func logged(_ tensor: Tensor, _ name: String, _ dtype: DType) throws(HeadError) -> Tensor {
        try Payload.check(tensor, name, dtype, [tensor.count], from: "the log")
        return tensor
    }

    /// Which of the sampled rows lie in pieces that are ahead of step `number`.
    private func rowsAhead(of number: Int, _ state: StepState, _ ahead: [Int: [Int]]) -> [UInt8] {
        if ahead.isEmpty { return [] }
        var flags = [UInt8](repeating: 0, count: state.ids.count)
        let places = state.places.array(Int64.self)
        var (offset, isAny) = (0, false)
        for (slice, count) in zip(state.slices, state.counts) {
            if let steps = ahead[slice] {
                for row in offset..<offset + count {
                    let piece = Int(places[row]) / table.chunkRows
                    if piece < steps.count && steps[piece] >= number { (flags[row], isAny) = (1, true) }
                }
            }
            offset += count
        }
        return isAny ? flags : []
    }
}
