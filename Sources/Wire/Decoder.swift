internal import CWire
import Glibc
import Tensors

/// The C structs that protobuf-c unpacked, checked, to Swift messages.
enum Decoder {
    /// Frames shorter than this are copied: the copy is cheap, and a view would keep a whole receive buffer alive.
    private static let shortestView = 4096

    /// A tensor as a header describes it.
    struct Description {
        var dtype: DType
        var shape: [Int]
        var byteCount: Int
        /// Whether the elements come later.
        var inFragments: Bool
    }

    /// Matches the header's descriptions with the frames.
    static func descriptions(_ header: Partialfc__Header, frames: [TensorStorage]) throws -> [Description] {
        guard header.n_tensors == frames.count else {
            throw WireError(
                .frameCount, "the header describes \(header.n_tensors) tensors, but \(frames.count) frames follow it")
        }
        var descriptions: [Description] = []
        for (index, frame) in frames.enumerated() {
            let info = try Field.required(header.tensors[index], "description of a tensor")
            let dtype = try Field.value(DType.self, info.dtype, "dtype of tensor \(index)")
            let axes = try Field.count(info.n_shape, "axes of tensor \(index)", limit: Bound.axes)
            let shape = try (0..<axes).map { try Field.number(info.shape[$0], "an extent of tensor \(index)") as Int }
            let size = try TensorRules.byteCount(dtype: dtype, shape: shape)
            let inFragments = info.in_fragments != 0
            guard frame.byteCount == (inFragments ? 0 : size) else {
                throw WireError(
                    .frameSize,
                    "tensor \(index) of type \(dtype) and shape \(shape) has \(size) bytes\(inFragments ? ", none with the header" : ""), its frame \(frame.byteCount)"
                )
            }
            guard !inFragments || size > 0 else {
                throw WireError(.tensor, "tensor \(index) is empty and cannot come in fragments")
            }
            descriptions.append(
                Description(dtype: dtype, shape: shape, byteCount: size, inFragments: inFragments))
        }
        return descriptions
    }

    /// The tensors, as views or copies of the frames; those that come in fragments in memory that `memory` gives.
    ///
    /// - Returns: the tensors and the memory that fragments are to fill.
    static func tensors(
        _ header: Partialfc__Header, frames: [TensorStorage], limit: Int, memory: (Int) -> TensorStorage?
    ) throws -> (tensors: [Tensor], pieces: [TensorStorage]) {
        let descriptions = try descriptions(header, frames: frames)
        // Each is at most 2^48, and they are few.
        let total = descriptions.reduce(0) { $0 + $1.byteCount }
        guard total <= limit else {
            throw WireError(.tooLarge, "tensors of \(total) bytes; at most \(limit) are allowed in a message")
        }
        guard descriptions.contains(where: \.inFragments) == (header.series != 0) else {
            throw WireError(.field, "series is \(header.series): it numbers messages that have tensors in fragments")
        }
        var pieces: [TensorStorage] = []
        let tensors = try zip(descriptions, frames).map { description, frame in
            guard description.inFragments else { return tensor(description.dtype, description.shape, frame) }
            guard let piece = memory(description.byteCount) else {
                throw WireError(.tooLarge, "no memory for a tensor of \(description.byteCount) bytes")
            }
            pieces.append(piece)
            return Tensor(dtype: description.dtype, shape: description.shape, storage: piece)
        }
        return (tensors, pieces)
    }

    private static func tensor(_ dtype: DType, _ shape: [Int], _ frame: TensorStorage) -> Tensor {
        let aligned = UInt(bitPattern: frame.base) % UInt(dtype.size) == 0
        if aligned && frame.byteCount >= shortestView { return Tensor(dtype: dtype, shape: shape, storage: frame) }
        let copy = TensorStorage(byteCount: frame.byteCount)
        copy.base.copyMemory(from: frame.base, byteCount: frame.byteCount)
        return Tensor(dtype: dtype, shape: shape, storage: copy)
    }

    static func message(_ header: Partialfc__Header, tensors: [Tensor]) throws -> WireMessage {
        let message = try body(header, tensors: tensors)
        try TensorRules.check(tensors.map { ($0.dtype, $0.shape) }, of: message)
        return message
    }

    private static func body(_ header: Partialfc__Header, tensors: [Tensor]) throws -> WireMessage {
        switch header.body_case {
        case PARTIALFC__HEADER__BODY_HELLO: return .hello(try hello(Field.required(header.hello, "hello")))
        case PARTIALFC__HEADER__BODY_WELCOME: return .welcome(try welcome(Field.required(header.welcome, "welcome")))
        case PARTIALFC__HEADER__BODY_STANDING_BY:
            return .standingBy(try standingBy(Field.required(header.standing_by, "standing_by")))
        case PARTIALFC__HEADER__BODY_REFUSED: return .refused(try refusal(Field.required(header.refused, "refused")))
        case PARTIALFC__HEADER__BODY_ACKNOWLEDGED: return .acknowledged
        case PARTIALFC__HEADER__BODY_HEARTBEAT:
            return .heartbeat(try heartbeat(Field.required(header.heartbeat, "heartbeat")))
        case PARTIALFC__HEADER__BODY_HEARTBEAT_REPLY:
            return .heartbeatReply(try heartbeatReply(Field.required(header.heartbeat_reply, "heartbeat_reply")))
        case PARTIALFC__HEADER__BODY_READY: return .ready(try ready(Field.required(header.ready, "ready")))
        case PARTIALFC__HEADER__BODY_PLAN: return .plan(try plan(Field.required(header.plan, "plan")))
        case PARTIALFC__HEADER__BODY_STEP_DONE:
            return .stepDone(try stepDone(Field.required(header.step_done, "step_done")))
        case PARTIALFC__HEADER__BODY_STEP_FAILED:
            return .stepFailed(try stepFailed(Field.required(header.step_failed, "step_failed")))
        case PARTIALFC__HEADER__BODY_EVALUATION:
            return .evaluation(try evaluation(Field.required(header.evaluation, "evaluation")))
        case PARTIALFC__HEADER__BODY_LEAVE: return .leave(try leave(Field.required(header.leave, "leave")))
        case PARTIALFC__HEADER__BODY_TASK_DONE:
            return .taskDone(try taskDone(Field.required(header.task_done, "task_done")))
        case PARTIALFC__HEADER__BODY_STEP_PREPARED:
            return .stepPrepared(try stepPrepared(Field.required(header.step_prepared, "step_prepared")))
        case PARTIALFC__HEADER__BODY_RESULTS_DONE:
            return .resultsDone(try resultsDone(Field.required(header.results_done, "results_done")))
        case PARTIALFC__HEADER__BODY_STEP_REQUEST:
            return try stepRequest(Field.required(header.step_request, "step_request"), payload: tensors)
        case PARTIALFC__HEADER__BODY_STEP_REPLY:
            return .stepReply(try stepReply(Field.required(header.step_reply, "step_reply"), payload: tensors))
        case PARTIALFC__HEADER__BODY_TRANSFER_REQUEST:
            return .transferRequest(try transferRequest(Field.required(header.transfer_request, "transfer_request")))
        case PARTIALFC__HEADER__BODY_TRANSFER_REPLY:
            return .transferReply(
                try transferReply(Field.required(header.transfer_reply, "transfer_reply"), payload: tensors))
        case PARTIALFC__HEADER__BODY_OPERATOR_REQUEST:
            return .operatorRequest(try operatorRequest(Field.required(header.operator_request, "operator_request")))
        case PARTIALFC__HEADER__BODY_OPERATOR_REPLY:
            return .operatorReply(try operatorReply(Field.required(header.operator_reply, "operator_reply")))
        case PARTIALFC__HEADER__BODY_READ_ROWS:
            try TensorRules.check(
                tensors.map { ($0.dtype, $0.shape) }, of: .readRows(ids: tensors.first ?? Tensor([Int64]())))
            return .readRows(ids: tensors[0])
        case PARTIALFC__HEADER__BODY_ROWS:
            guard tensors.count == 3 else {
                throw WireError(
                    .tensor, "rows needs two tensors f32 [n, D] and one i64 [n, 2], but \(tensors.count) came with it")
            }
            return .rows(rows: tensors[0], kept: tensors[1], steps: tensors[2])
        case PARTIALFC__HEADER__BODY_READ_SLICE_HASHES: return .readSliceHashes
        case PARTIALFC__HEADER__BODY_SLICE_HASHES:
            return .sliceHashes(try sliceHashes(Field.required(header.slice_hashes, "slice_hashes")))
        case PARTIALFC__HEADER__BODY_READ_CLASSES: return .readClasses
        case PARTIALFC__HEADER__BODY_CLASSES:
            return .classes(try classes(Field.required(header.classes, "classes")))
        default:
            throw WireError(
                .unknownMessage, "the header has no body that protocol version \(wireProtocolVersion) knows")
        }
    }

    /// A text of at most `limit` bytes of UTF-8.
    static func text(
        _ pointer: UnsafeMutablePointer<CChar>?, _ field: String, limit: Int = Bound.nameBytes
    ) throws -> String {
        guard let pointer else { return "" }
        let count = strlen(pointer)
        guard count <= limit else {
            throw WireError(.text, "\(field) has \(count) bytes; at most \(limit) are allowed")
        }
        let bytes = UnsafeRawBufferPointer(start: pointer, count: count)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw WireError(.text, "\(field) is not UTF-8")
        }
        return text
    }
}
