public import Cluster
public import StepProtocol
public import Tensors

/// Everything that processes of a cluster say to each other; PROTOCOL.md says it in bytes.
public enum WireMessage: Sendable {
    // Handshake.
    case hello(Hello)
    case welcome(Welcome)
    case refused(Refusal)
    /// The request was received and needs no other answer.
    case acknowledged

    // Between the coordinator and its members.
    case heartbeat(Heartbeat)
    case heartbeatReply(HeartbeatReply)
    case ready(Ready)
    case plan(Plan)
    case stepDone(StepDone)
    case stepFailed(StepFailed)
    case evaluation(Evaluation)
    case leave(Leave)
    case taskDone(TaskDone)
    case stepPrepared(StepPrepared)
    case resultsDone(ResultsDone)
    /// A coordinator does not decide: the peer is to go to the next of its coordinators.
    case standingBy(StandingBy)

    // Between workers and shards.
    /// A request of the step protocol and the incarnation of the worker that sends it.
    case stepRequest(StepRequest<[Tensor]>, incarnation: UInt64)
    case stepReply(StepReply<[Tensor]>)

    // Between shards.
    case transferRequest(TransferRequest)
    case transferReply(TransferReply<[Tensor]>)

    // For operators and inspection.
    case operatorRequest(OperatorRequest)
    case operatorReply(OperatorReply)
    /// Class ids, i64 [n].
    case readRows(ids: Tensor)
    /// Rows, and the first plane that the optimiser keeps of them, f32 [n, D] each, in the order of the ids. Steps i64 [n, 2]: the last step that the class took part in, and
    /// the first that the shard knows of; -1 for none.
    case rows(rows: Tensor, kept: Tensor, steps: Tensor)
    case readSliceHashes
    case sliceHashes(SliceHashes)
    case readClasses
    case classes(ClassList)

    /// The name of the message in PROTOCOL.md, for logs and error messages.
    public var name: String {
        switch self {
        case .hello: "hello"
        case .welcome: "welcome"
        case .refused: "refused"
        case .acknowledged: "acknowledged"
        case .heartbeat: "heartbeat"
        case .heartbeatReply: "heartbeat_reply"
        case .ready: "ready"
        case .plan: "plan"
        case .stepDone: "step_done"
        case .stepFailed: "step_failed"
        case .evaluation: "evaluation"
        case .leave: "leave"
        case .taskDone: "task_done"
        case .stepPrepared: "step_prepared"
        case .resultsDone: "results_done"
        case .standingBy: "standing_by"
        case .stepRequest: "step_request"
        case .stepReply: "step_reply"
        case .transferRequest: "transfer_request"
        case .transferReply: "transfer_reply"
        case .operatorRequest: "operator_request"
        case .operatorReply: "operator_reply"
        case .readRows: "read_rows"
        case .rows: "rows"
        case .readSliceHashes: "read_slice_hashes"
        case .sliceHashes: "slice_hashes"
        case .readClasses: "read_classes"
        case .classes: "classes"
        }
    }
}
