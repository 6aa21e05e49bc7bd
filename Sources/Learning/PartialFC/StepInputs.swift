public import Cluster
public import Model
public import ParameterStore
public import Tensors

/// What the rows of a step are updated from: enough, with the rows themselves, to do the step again, on any slice.
public enum StepInputs: Sendable {
    /// Labels i64 [B], features f32 [B, D] and logZ f64 [B], in the order of the batch, and what a job said of each sample. Good
    /// for every slice.
    case features(labels: Tensor, features: Tensor, logZ: Tensor, terms: SampleTerms = SampleTerms())
    /// Labels i64 [B]; of each slice of `slices`, ascending, the number of sampled rows i32 [slices]; and the summed row
    /// gradients H f32 [S, D] in the order of the sampled rows. Good for these slices.
    case rows(labels: Tensor, slices: SliceSet, counts: Tensor, gradient: Tensor)

    /// The tensors as a log keeps them, in the order of `LogRecord.Kind`.
    public var tensors: [Tensor] {
        switch self {
        case .features(let labels, let features, let logZ, let terms) where terms.isEmpty: [labels, features, logZ]
        case .features(let labels, let features, let logZ, let terms):
            [
                labels, features, logZ, terms.margins ?? Tensor(zeros: Float.self, shape: [0, 3]),
                terms.weights ?? Tensor(zeros: Float.self, shape: [0]),
            ]
        case .rows(let labels, _, let counts, let gradient): [labels, counts, gradient]
        }
    }

    /// The kind of log record these are.
    public var kind: LogRecord.Kind {
        switch self {
        case .features(_, _, _, let terms): terms.isEmpty ? .features : .jobFeatures
        case .rows: .rows
        }
    }

    /// The head's part of a logged step: the first tensors of the record.
    ///
    /// - Throws: `HeadError` if the record is of another kind or has too few tensors.
    public init(_ record: LogRecord) throws(HeadError) {
        let (tensors, kind) = (record.tensors, record.header.kind)
        guard kind.isComputed, tensors.count >= (kind == .jobFeatures ? 5 : 3) else {
            throw HeadError(
                .malformed,
                "the record of step \(record.header.step), \(kind.rawValue) with \(tensors.count) tensors, is no step to do again"
            )
        }
        switch kind {
        case .features: self = .features(labels: tensors[0], features: tensors[1], logZ: tensors[2])
        case .jobFeatures:
            let terms = tensors[3...4].map { $0.count == 0 ? nil : $0 }
            self = .features(
                labels: tensors[0], features: tensors[1], logZ: tensors[2],
                terms: SampleTerms(margins: terms[0], weights: terms[1]))
        default:
            self = .rows(labels: tensors[0], slices: record.header.slices, counts: tensors[1], gradient: tensors[2])
        }
    }

    /// The inputs for `wanted` alone, sharing memory where they can: what a receiver of these slices needs.
    ///
    /// - Throws: `HeadError` if they are not about all of these slices, or do not fit together.
    public func restricted(to wanted: SliceSet) throws(HeadError) -> StepInputs {
        guard case .rows(let labels, let slices, let counts, let gradient) = self, slices != wanted else { return self }
        let counted = try Self.sampledCounts(counts, of: slices, gradient)
        guard wanted.subtracting(slices).isEmpty else {
            throw HeadError(
                .malformed, "row gradients of slices \(slices) were kept, and slices \(wanted) are asked for")
        }
        var pieces: [Range<Int>] = []
        var kept: [Int32] = []
        var offset = 0
        for (slice, count) in zip(slices.numbers, counted) {
            if wanted.contains(slice) {
                kept.append(Int32(count))
                if let last = pieces.last, last.upperBound == offset {
                    pieces[pieces.count - 1] = last.lowerBound..<offset + count
                } else {
                    pieces.append(offset..<offset + count)
                }
            }
            offset += count
        }
        let part: Tensor
        if pieces.count == 1 {
            part = gradient.rows(pieces[0])
        } else {
            let size = gradient.shape[1]
            part = Tensor(uninitialized: Float.self, shape: [pieces.reduce(0) { $0 + $1.count }, size])
            part.withMutablePointer(Float.self) { part in
                gradient.withPointer(Float.self) { gradient in
                    var row = 0
                    for piece in pieces {
                        let values = gradient[piece.lowerBound * size..<piece.upperBound * size]
                        _ = part[(row * size)...].update(fromContentsOf: values)
                        row += piece.count
                    }
                }
            }
        }
        return .rows(labels: labels, slices: wanted, counts: Tensor(kept), gradient: part)
    }

    /// Checks that counts and gradient belong together.
    static func sampledCounts(_ counts: Tensor, of slices: SliceSet, _ gradient: Tensor) throws(HeadError) -> [Int] {
        try Payload.check(counts, "sampled counts", .i32, [slices.count], from: "the log")
        let values = counts.array(Int32.self).map(Int.init)
        guard values.allSatisfy({ $0 >= 0 }), gradient.dtype == .f32, gradient.shape.count == 2,
            gradient.shape[0] == values.reduce(0, +)
        else {
            throw HeadError(
                .malformed,
                "the log has row gradients \(gradient.dtype) \(gradient.shape) for \(values.reduce(0, +)) sampled rows")
        }
        return values
    }
}
