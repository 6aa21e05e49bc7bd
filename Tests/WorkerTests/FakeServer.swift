import Cluster
import StepProtocol
import Tensors
import Testing
import Wire

/// A coordinator or shard that does what the test says.
final class FakeServer {
    /// A message that came.
    struct Received {
        var peer: PeerID
        var request: UInt64
        var message: WireMessage
    }

    private let mailbox = Mailbox<ServerEvent>()
    let server: ServerEndpoint

    init(bind endpoint: String = "tcp://127.0.0.1:*") throws {
        server = try ServerEndpoint(bind: endpoint, events: mailbox.sink { $0 })
    }

    /// The next message that `wanted` takes; others are passed over.
    func next<T>(_ what: String, _ wanted: (WireMessage) -> T?) throws -> (T, Received) {
        let deadline = ContinuousClock.now + .seconds(30)
        while let event = mailbox.next(until: deadline) {
            guard case .received(let peer, let request, let message) = event else { continue }
            if let value = wanted(message) {
                return (value, Received(peer: peer, request: request, message: message))
            }
        }
        throw WireError(.overdue, "no \(what) came")
    }

    /// Waits for the hello and welcomes it.
    func welcome(as member: MemberID, _ change: (inout Welcome) -> Void = { _ in }) throws -> (Hello, PeerID) {
        let (hello, received) = try next("hello") { if case .hello(let hello) = $0 { hello } else { nil } }
        var welcome = Welcome(clusterID: "test", member: member)
        welcome.heartbeatMilliseconds = 100
        change(&welcome)
        server.welcome(received.peer, request: received.request, welcome)
        return (hello, received.peer)
    }

    /// The next request of a phase.
    func request(_ phase: StepPhase) throws -> (StepRequest<[Tensor]>, Received) {
        try next("\(phase)") {
            if case .stepRequest(let request, _) = $0, request.phase == phase { request } else { nil }
        }
    }

    func answer(_ request: (StepRequest<[Tensor]>, Received), _ payload: [Tensor]) {
        let reply = StepReply(id: request.0.id, rank: request.0.rank, phase: request.0.phase, outcome: .done(payload))
        server.send(.stepReply(reply), to: request.1.peer, request: request.1.request)
    }
}
