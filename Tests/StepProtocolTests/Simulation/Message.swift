internal import Cluster
internal import StepProtocol

/// What travels between the simulated processes.
enum Message: Sendable {
    // To the coordinator.
    case joined(
        MemberRole, incarnation: UInt64, endpoint: String, previousNumber: Int?, state: ShardState?,
        place: String = "", replaces: UInt64? = nil, writesResults: Bool = false, hello: Int = 0, job: JobRank? = nil)
    /// Goes with a hello or a heartbeat; here it may come before or after it.
    case knows(term: Int, coordinator: UInt64, from: UInt64)
    case heartbeat(MemberID, incarnation: UInt64, report: ShardReport?, activity: WorkerActivity? = nil)
    case prepared(MemberID, incarnation: UInt64, StepID)
    case left(MemberID, incarnation: UInt64)
    case drain(MemberID, incarnation: UInt64)
    case stay(MemberID, incarnation: UInt64)
    case ready(MemberID, incarnation: UInt64)
    case report(MemberID, incarnation: UInt64, WorkerReport)
    case readClasses
    case taskDone(MemberID, incarnation: UInt64, number: Int, TaskOutcome)
    // From the coordinator.
    /// Answers the hello of this number.
    case welcome(MemberID, hello: Int)
    case refuse(RefusalCode, String)
    case plan(Plan)
    /// So many operations on the classes there are.
    case classes(version: Int, [ClassOperation])
    /// Whether a shard's wish is granted.
    case answered(isAccepted: Bool)
    /// A drained shard may go.
    case dismissed(MemberID)
    // Between worker and shard.
    case request(StepRequest<Words>, from: StepSender?)
    case reply(MemberID, StepReply<Words>)
    // Between shards.
    case transfer(TransferRequest)
    case transferReply(to: TransferRequest, TransferReply<ToyParcel>)

    /// For the trace of a replayed seed.
    var summary: String {
        switch self {
        case .joined(let role, let incarnation, let endpoint, let number, let state, _, _, _, _, _):
            "joined \(role) \(incarnation) at \(endpoint), was \(number as Any), has \(state as Any)"
        case .prepared(let member, _, let id): "\(member) is prepared for \(id)"
        case .heartbeat(let member, let incarnation, let report, _):
            "heartbeat \(member) \(incarnation)"
                + (report.map { report in
                    let received = report.received.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
                    return
                        " committed \(report.committed) durable \(report.durable) received \(received) \(report.obstacle)"
                } ?? "")
        case .knows(let term, let coordinator, _): "knows term \(term) of \(coordinator)"
        case .left(let member, _): "left \(member)"
        case .drain(let member, _): "drain \(member)"
        case .stay(let member, _): "stay \(member)"
        case .answered(let isAccepted): isAccepted ? "so be it" : "no"
        case .ready(let member, _): "ready \(member)"
        case .report(let member, _, .done(let result)): "\(member) done \(result.id)"
        case .report(let member, _, .failed(let id, let code, let message, _)):
            "\(member) failed \(id) \(code) \(message)"
        case .report(let member, _, .results(let id, let problem)):
            "\(member) results of \(id) \(problem ?? "are written")"
        case .taskDone(let member, _, let number, let outcome): "\(member) task \(number) \(outcome)"
        case .welcome(let member, _): "welcome \(member)"
        case .refuse(let code, let message): "refuse \(code) \(message)"
        case .plan(let plan):
            "plan \(plan.id.term).\(plan.revision) \(plan.id) committed \(plan.committed) map \(plan.mapVersion) safe \(plan.safe) "
                + "classes \(plan.classVersion) \(plan.activity) world \(plan.ranks.count) moves \(plan.moves.map { "\($0.slice)→\($0.to)" })"
        case .readClasses: "asks for the classes"
        case .classes(let version, _): "classes \(version)"
        case .dismissed(let member): "\(member) may go"
        case .request(let request, _): "\(request.phase) of \(request.id) rank \(request.rank)/\(request.worldSize)"
        case .reply(let shard, let reply): "\(shard) answers \(reply.phase) of \(reply.id): \(reply.outcome)"
        case .transfer(let request): "asks for \(request.slice) \(request.part) in term \(request.term)"
        case .transferReply(let request, let reply): "gives \(request.slice) \(request.part): \(reply.content)"
        }
    }
}

/// What must never happen.
struct Violation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
