internal import StepProtocol

/// What travels between the simulated processes.
enum Message: Sendable {
    // To the coordinator.
    case joined(MemberRole, incarnation: UInt64, endpoint: String, previousNumber: Int?, stateStep: Int)
    case heartbeat(MemberID, incarnation: UInt64, stateStep: Int?)
    case left(MemberID, incarnation: UInt64)
    case ready(MemberID, incarnation: UInt64)
    case report(MemberID, incarnation: UInt64, WorkerReport)
    // From the coordinator.
    case welcome(MemberID)
    case refuse(RefusalCode, String)
    case plan(Plan)
    // Between worker and shard.
    case request(StepRequest<Words>)
    case reply(MemberID, StepReply<Words>)

    /// For the trace of a replayed seed.
    var summary: String {
        switch self {
        case .joined(let role, let incarnation, let endpoint, _, let step):
            "joined \(role) \(incarnation) at \(endpoint) with step \(step)"
        case .heartbeat(let member, let incarnation, _): "heartbeat \(member) \(incarnation)"
        case .left(let member, _): "left \(member)"
        case .ready(let member, _): "ready \(member)"
        case .report(let member, _, .done(let result)): "\(member) done \(result.id)"
        case .report(let member, _, .failed(let id, let code, let message)): "\(member) failed \(id) \(code) \(message)"
        case .welcome(let member): "welcome \(member)"
        case .refuse(let code, let message): "refuse \(code) \(message)"
        case .plan(let plan): "plan \(plan.id) committed \(plan.committed) \(plan.activity) world \(plan.ranks.count)"
        case .request(let request): "\(request.phase) of \(request.id) rank \(request.rank)/\(request.worldSize)"
        case .reply(let shard, let reply): "\(shard) answers \(reply.phase) of \(reply.id): \(reply.outcome)"
        }
    }
}

/// What must never happen.
struct Violation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
