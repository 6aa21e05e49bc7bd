internal import CKernels
internal import Cluster
internal import Determinism
internal import Model
internal import ParameterStore
internal import Tensors

/// The samples of one or more ranks in the order of the batch: features, their directions, labels and targets.
///
/// Written while it is set up, read by the blocks afterwards.
final class SampleSet: @unchecked Sendable {
    let count: Int
    let embeddingSize: Int
    let microBatchSize: Int
    /// The micro-batches the samples are of.
    let microBatches: Range<Int>
    /// Class of each sample; −1 for one that has none.
    let labels: ArraySlice<Int64>
    /// x [n, D], as received.
    let features: Tensor
    /// x/|x| [n, D].
    let normalized: Tensor
    /// Position of the target's slice among the rows at hand, -1 if it is not there.
    let targetSlice: Tensor
    /// Position of the target's row in its slice.
    let targetRow: Tensor
    /// s·t and dt/dcos of the target.
    let targetLogit: Tensor
    let targetDerivative: Tensor
    /// Scale, margins and filter of the step.
    let margin: pfc_head_margin
    /// m1, m2 and m3 of each target logit [n, 3]; nil if all have those of the step.
    let margins: Tensor?

    /// Joins the features of consecutive ranks.
    ///
    /// - Parameters:
    ///   - margins: of each rank that sent some, f32 [n, 3].
    ///   - values: of the step: scale and filter, and margins of the other ranks' samples.
    /// - Throws: `HeadError` if shapes do not fit, margins are impossible or a feature is not finite; the sample is named by its place in the batch.
    init(
        features parts: [Tensor], labels: ArraySlice<Int64>, microBatchSize: Int, microBatches: Range<Int>,
        embeddingSize: Int, margins: [Tensor?] = [], values: HeadValues, parallel: ParallelBlocks
    ) throws(HeadError) {
        let first = microBatches.lowerBound * microBatchSize
        var sampleCount = 0
        for (rank, part) in parts.enumerated() {
            let sender = parts.count == 1 ? "the rank" : "rank \(rank)"
            guard part.dtype == .f32, part.shape.count == 2, part.shape[1] == embeddingSize else {
                throw HeadError(
                    .malformed,
                    "features of \(sender) are \(part.dtype) \(part.shape), expected f32 [n, \(embeddingSize)]")
            }
            guard part.shape[0] % microBatchSize == 0 else {
                throw HeadError(
                    .malformed,
                    "\(sender) has \(part.shape[0]) samples, which is not a whole number of micro-batches of \(microBatchSize)"
                )
            }
            if let bad = Payload.firstNonFinite(part, parallel: parallel) {
                throw HeadError(
                    .notFinite,
                    "the feature of sample \(first + sampleCount + bad / embeddingSize) of the batch is not finite")
            }
            sampleCount += part.shape[0]
        }
        guard sampleCount == microBatches.count * microBatchSize, sampleCount == labels.count else {
            throw HeadError(
                .malformed,
                "features of \(sampleCount) samples for \(microBatches.count) micro-batches of \(microBatchSize) with \(labels.count) labels"
            )
        }
        self.margins = try SampleTerms.margins(
            margins, counts: parts.map { $0.shape[0] }, labels: labels, first: first, usual: values.margins)
        margin = values.kernelMargin
        count = sampleCount
        self.embeddingSize = embeddingSize
        self.microBatchSize = microBatchSize
        self.microBatches = microBatches
        self.labels = labels
        features = Tensor(uninitialized: Float.self, shape: [sampleCount, embeddingSize])
        normalized = Tensor(uninitialized: Float.self, shape: [sampleCount, embeddingSize])
        targetSlice = Tensor(uninitialized: Int32.self, shape: [sampleCount])
        targetRow = Tensor(zeros: Int32.self, shape: [sampleCount])
        targetLogit = Tensor(zeros: Float.self, shape: [sampleCount])
        targetDerivative = Tensor(zeros: Float.self, shape: [sampleCount])
        targetSlice.mutable(Int32.self).initialize(repeating: -1)
        var offset = 0
        for part in parts where part.count > 0 {
            (features.rawPointer + offset).copyMemory(from: part.rawPointer, byteCount: part.byteCount)
            offset += part.byteCount
        }
        parallel.forEach(microBatches.count) { [self] block, _ in
            let start = block * microBatchSize * embeddingSize
            pfc_head_normalize(
                features.pointer(Float.self) + start, microBatchSize, embeddingSize,
                normalized.pointer(Float.self) + start)
        }
    }

    /// Finds the targets that are among `rows` and computes their logits.
    ///
    /// - Parameter range: positions of the slices to look in; all if nil.
    /// - Throws: `HeadError` if a label lies in one of these slices and is not among the sampled classes of it.
    func findTargets(
        in rows: SampledRows, at range: Range<Int>? = nil, parallel: ParallelBlocks
    ) throws(HeadError) {
        let range = range ?? rows.slices.indices
        let (slices, positions) = (targetSlice.mutable(Int32.self), targetRow.mutable(Int32.self))
        let position = rows.positionOfSlice
        for (sample, label) in labels.enumerated() {
            guard label >= 0, let index = position[rows.layout.slice(ofClass: Int(label))], range.contains(index) else {
                continue
            }
            let ids = rows.slices[index].ids
            let row = ids.lowerBound(sorted: label)
            guard row < ids.count, ids[row] == label else {
                throw HeadError(
                    .malformed,
                    "class \(label), the label of sample \(microBatches.lowerBound * microBatchSize + sample) of the batch, is not among the sampled classes"
                )
            }
            slices[sample] = Int32(index)
            positions[sample] = Int32(row)
        }
        parallel.forEach(microBatches.count) { [self] block, _ in
            var margin = margin
            let scratch = Tensor(uninitialized: Float.self, shape: [embeddingSize])
            defer { withExtendedLifetime(scratch) {} }
            for sample in block * microBatchSize..<(block + 1) * microBatchSize {
                guard range.contains(Int(targetSlice.buffer(Int32.self)[sample])),
                    let row = targetCenter(sample, in: rows, scratch: scratch.pointer(Float.self))
                else { continue }
                if let own = margins?.buffer(Float.self) {
                    margin.m1 = Double(own[3 * sample])
                    margin.m2 = Double(own[3 * sample + 1])
                    margin.m3 = Double(own[3 * sample + 2])
                }
                pfc_head_target(
                    &margin, features.pointer(Float.self) + sample * embeddingSize, row, embeddingSize,
                    targetLogit.pointer(Float.self) + sample, targetDerivative.pointer(Float.self) + sample)
            }
        }
    }

    /// Multiplies what the targets give to the row gradients by the samples' weights, f32 [n].
    func weighTargets(_ weights: Tensor) {
        let (derivatives, weights) = (targetDerivative.mutable(Float.self), weights.buffer(Float.self))
        for sample in 0..<count { derivatives[sample] *= weights[sample] }
    }

    /// The center of a sample's class f32 [D], if it is among `rows`; decoded into `scratch` if it must be.
    func targetCenter(
        _ sample: Int, in rows: SampledRows, scratch: UnsafeMutablePointer<Float>
    ) -> UnsafePointer<Float>? {
        let slice = Int(targetSlice.buffer(Int32.self)[sample])
        if slice < 0 { return nil }
        let row = Int(targetRow.buffer(Int32.self)[sample])
        return rows.single(rows.slices[slice], row..<row + 1, scratch: scratch)
    }

    /// dt/dx of the target without the norm of x: derivative · w/|w|, into `numerator` [D]; false if the class is not here.
    func targetNumerator(
        _ sample: Int, in rows: SampledRows, into numerator: UnsafeMutablePointer<Float>
    ) -> Bool {
        guard let center = targetCenter(sample, in: rows, scratch: numerator) else { return false }
        pfc_head_target_numerator(center, targetDerivative.buffer(Float.self)[sample], embeddingSize, numerator)
        return true
    }

    /// The column of each sample's target inside a tile of rows, or -1.
    func targetColumns(
        microBatch: Int, slice: Int, tile: Range<Int>, into columns: UnsafeMutablePointer<Int32>
    ) {
        let first = (microBatch - microBatches.lowerBound) * microBatchSize
        let (slices, positions) = (targetSlice.buffer(Int32.self), targetRow.buffer(Int32.self))
        for i in 0..<microBatchSize {
            let row = Int(positions[first + i])
            columns[i] = slices[first + i] == slice && tile.contains(row) ? Int32(row - tile.lowerBound) : -1
        }
    }
}

extension SampleSet {
    /// The same for every lane of a micro-batch, -1 for lanes without a sample.
    func targetLanes(
        microBatch: Int, slice: Int, tile: Range<Int>, lanes: Int, into columns: UnsafeMutablePointer<Int32>
    ) {
        targetColumns(microBatch: microBatch, slice: slice, tile: tile, into: columns)
        for lane in microBatchSize..<lanes { columns[lane] = -1 }
    }
}
