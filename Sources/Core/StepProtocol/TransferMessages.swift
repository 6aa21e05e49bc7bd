public import Cluster

/// What the receiver of a slice asks its owner for.
public struct TransferRequest: Sendable, Hashable {
    public var slice: SliceName
    /// The term and the slice map in which the slice is on its way; an owner refuses others.
    public var term: Int
    public var mapVersion: Int
    public var part: Part

    public enum Part: Sendable, Hashable {
        /// Piece `index` of the slice, as it is after the last committed step.
        case chunk(Int)
        /// The inputs of the first logged step after this one.
        case record(after: Int)
    }

    public init(slice: SliceName, term: Int, mapVersion: Int, part: Part) {
        self.slice = slice
        self.term = term
        self.mapVersion = mapVersion
        self.part = part
    }
}

/// The owner's answer. `slice` and `part` repeat the request's.
public struct TransferReply<Payload: Sendable>: Sendable {
    public var slice: SliceName
    public var part: TransferRequest.Part
    public var content: Content

    public enum Content: Sendable {
        /// One of `count` pieces, as it is after `step`.
        case chunk(count: Int, step: Int, Payload)
        /// What was logged for `step`; `header` is the log record's header, as JSON.
        case record(step: Int, header: String, Payload)
        /// There is no record yet: the owner has committed nothing after the step that was asked about.
        case upToDate(step: Int)
        /// The log does not reach back so far any more, or is not kept: begin anew.
        case gone
    }

    public init(slice: SliceName, part: TransferRequest.Part, content: Content) {
        self.slice = slice
        self.part = part
        self.content = content
    }
}
