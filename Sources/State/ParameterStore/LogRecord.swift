public import Cluster
public import Tensors

/// One entry of a shard's log: the inputs of a step, from which the same state can be computed again.
public struct LogRecord: Sendable {
    public var header: Header
    /// As `header.kind` says.
    public var tensors: [Tensor]

    /// What kind of step it was, for which slices.
    public struct Header: Sendable, Hashable, Codable {
        public var term: Int
        public var step: Int
        public var attempt: Int
        public var kind: Kind
        public var learningRate: Float
        /// The values of the head that the step was computed with; nil: those of the configuration's `head:`.
        public var head: HeadValues?
        /// Squared norm of the whole backbone gradient, which decides how it is clipped.
        public var squaredNorm: Double
        /// The slices of class centers and of the backbone's parameters that the record is about.
        public var slices: SliceSet
        public var denseSlices: SliceSet
        /// Of `classes`: the operation, as JSON, and the class version after it.
        public var operation: String
        public var classVersion: Int

        public init(
            term: Int, step: Int, attempt: Int, kind: Kind, learningRate: Float = 0, head: HeadValues? = nil,
            squaredNorm: Double = 0, slices: SliceSet = [], denseSlices: SliceSet = [], operation: String = "",
            classVersion: Int = 0
        ) {
            self.term = term
            self.step = step
            self.attempt = attempt
            self.kind = kind
            self.learningRate = learningRate
            self.head = head
            self.squaredNorm = squaredNorm
            self.slices = slices
            self.denseSlices = denseSlices
            self.operation = operation
            self.classVersion = classVersion
        }
    }

    public enum Kind: String, Sendable, Hashable, Codable {
        /// labels i64 [B], features f32 [B, D], logZ f64 [B], dense gradient f32 [L].
        case features
        /// labels i64 [B] with −1 for none, features f32 [B, D], logZ f64 [B], margins f32 [B, 3] or [0, 3] for the configuration's,
        /// weights f32 [B] or [0] for 1, dense gradient f32 [L].
        case jobFeatures
        /// labels i64 [B], sampled counts of `slices` i32 [n], row gradients H f32 [S, D] in the order of the sampled rows,
        /// dense gradient f32 [L].
        case rows
        /// The step changes nothing. No tensors.
        case skip
        /// A class operation after `step`. Tensors: initial rows of added classes f32 [n, D], if they came from a file.
        case classes

        /// Whether it is of a step that changes what takes part in it.
        public var isComputed: Bool {
            switch self {
            case .features, .jobFeatures, .rows: true
            case .skip, .classes: false
            }
        }
    }

    public init(header: Header, tensors: [Tensor] = []) {
        self.header = header
        self.tensors = tensors
    }
}
