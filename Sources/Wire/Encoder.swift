internal import CWire
internal import Cluster
internal import StepProtocol
import Tensors

/// Swift messages to the C structs that protobuf-c packs.
struct Encoder {
    let arena: Arena

    /// The frames that go with a message.
    func tensors(of message: WireMessage) throws -> [Tensor] {
        let tensors: [Tensor] =
            switch message {
            case .stepRequest(let request, _): request.query == .none ? request.payload : []
            case .stepReply(let reply): if case .done(let payload) = reply.outcome { payload } else { [] }
            case .transferReply(let reply): reply.content.payload
            case .readRows(let ids): [ids]
            case .rows(let rows, let kept, let steps): [rows, kept, steps]
            default: []
            }
        try TensorRules.check(tensors.map { ($0.dtype, $0.shape) }, of: message)
        return tensors
    }

    /// - Parameter series: not 0 if long tensors are to follow in fragments.
    func describe(_ tensors: [Tensor], series: UInt64, in header: inout Partialfc__Header) throws {
        header.series = series
        let descriptions = try tensors.map { tensor in
            _ = try TensorRules.byteCount(dtype: tensor.dtype, shape: tensor.shape)
            return arena.make(partialfc__tensor_info__init) {
                $0.dtype = UInt32(tensor.dtype.rawValue)
                $0.n_shape = tensor.shape.count
                $0.shape = arena.array(tensor.shape.map { UInt64($0) })
                $0.in_fragments = series != 0 && tensor.byteCount > WireLimits.fragmentByteCount ? 1 : 0
            }
        }
        header.n_tensors = descriptions.count
        header.tensors = arena.messages(descriptions)
    }

    func encode(_ message: WireMessage, into header: inout Partialfc__Header) throws {
        switch message {
        case .hello(let hello):
            header.hello = try self.hello(hello)
            header.body_case = PARTIALFC__HEADER__BODY_HELLO
        case .welcome(let welcome):
            header.welcome = try self.welcome(welcome)
            header.body_case = PARTIALFC__HEADER__BODY_WELCOME
        case .refused(let refusal):
            header.refused = try refused(refusal.code, refusal.message)
            header.body_case = PARTIALFC__HEADER__BODY_REFUSED
        case .acknowledged:
            header.acknowledged = arena.make(partialfc__acknowledged__init)
            header.body_case = PARTIALFC__HEADER__BODY_ACKNOWLEDGED
        case .heartbeat(let heartbeat):
            header.heartbeat = try self.heartbeat(heartbeat)
            header.body_case = PARTIALFC__HEADER__BODY_HEARTBEAT
        case .heartbeatReply(let reply):
            header.heartbeat_reply = try heartbeatReply(reply)
            header.body_case = PARTIALFC__HEADER__BODY_HEARTBEAT_REPLY
        case .ready(let ready):
            header.ready = try self.ready(ready)
            header.body_case = PARTIALFC__HEADER__BODY_READY
        case .plan(let plan):
            header.plan = try self.plan(plan)
            header.body_case = PARTIALFC__HEADER__BODY_PLAN
        case .stepDone(let done):
            header.step_done = try stepDone(done)
            header.body_case = PARTIALFC__HEADER__BODY_STEP_DONE
        case .stepFailed(let failed):
            header.step_failed = try stepFailed(failed)
            header.body_case = PARTIALFC__HEADER__BODY_STEP_FAILED
        case .evaluation(let evaluation):
            header.evaluation = try self.evaluation(evaluation)
            header.body_case = PARTIALFC__HEADER__BODY_EVALUATION
        case .leave(let leave):
            header.leave = try self.leave(leave)
            header.body_case = PARTIALFC__HEADER__BODY_LEAVE
        case .taskDone(let done):
            header.task_done = try taskDone(done)
            header.body_case = PARTIALFC__HEADER__BODY_TASK_DONE
        case .stepPrepared(let prepared):
            header.step_prepared = try stepPrepared(prepared)
            header.body_case = PARTIALFC__HEADER__BODY_STEP_PREPARED
        case .resultsDone(let done):
            header.results_done = try resultsDone(done)
            header.body_case = PARTIALFC__HEADER__BODY_RESULTS_DONE
        case .standingBy(let standing):
            header.standing_by = try standingBy(standing)
            header.body_case = PARTIALFC__HEADER__BODY_STANDING_BY
        case .stepRequest(let request, let incarnation):
            header.step_request = try stepRequest(request, incarnation: incarnation)
            header.body_case = PARTIALFC__HEADER__BODY_STEP_REQUEST
        case .stepReply(let reply):
            header.step_reply = try stepReply(reply)
            header.body_case = PARTIALFC__HEADER__BODY_STEP_REPLY
        case .transferRequest(let request):
            header.transfer_request = try transferRequest(request)
            header.body_case = PARTIALFC__HEADER__BODY_TRANSFER_REQUEST
        case .transferReply(let reply):
            header.transfer_reply = try transferReply(reply)
            header.body_case = PARTIALFC__HEADER__BODY_TRANSFER_REPLY
        default:
            try encodeInspection(message, into: &header)
        }
    }

    private func encodeInspection(_ message: WireMessage, into header: inout Partialfc__Header) throws {
        switch message {
        case .operatorRequest(let request):
            header.operator_request = try operatorRequest(request)
            header.body_case = PARTIALFC__HEADER__BODY_OPERATOR_REQUEST
        case .operatorReply(let reply):
            header.operator_reply = try operatorReply(reply)
            header.body_case = PARTIALFC__HEADER__BODY_OPERATOR_REPLY
        case .readRows:
            header.read_rows = arena.make(partialfc__read_rows__init)
            header.body_case = PARTIALFC__HEADER__BODY_READ_ROWS
        case .rows:
            header.rows = arena.make(partialfc__rows__init)
            header.body_case = PARTIALFC__HEADER__BODY_ROWS
        case .readSliceHashes:
            header.read_slice_hashes = arena.make(partialfc__read_slice_hashes__init)
            header.body_case = PARTIALFC__HEADER__BODY_READ_SLICE_HASHES
        case .sliceHashes(let hashes):
            header.slice_hashes = try sliceHashes(hashes)
            header.body_case = PARTIALFC__HEADER__BODY_SLICE_HASHES
        case .readClasses:
            header.read_classes = arena.make(partialfc__read_classes__init)
            header.body_case = PARTIALFC__HEADER__BODY_READ_CLASSES
        case .classes(let list):
            header.classes = try classes(list)
            header.body_case = PARTIALFC__HEADER__BODY_CLASSES
        default:
            throw WireError(.unknownMessage, "\(message.name) has no encoding")
        }
    }
}
