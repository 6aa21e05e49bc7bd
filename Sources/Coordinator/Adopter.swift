import Cluster
import Configuration
import CoordinatorStore
import Foundation
import Logging
import Model
import NetworkAddress
import ProcessSupport
import Setup
import StepProtocol
import Wire

/// Waits for the shards of a coordinator whose state is lost, until they have everything that the next one needs.
///
/// Nobody is let in meanwhile. Members repeat their hello; operators hear what is missing.
final class Adopter {
    /// What a run goes on with.
    struct Found {
        var cluster: CoordinatorDatabase.Cluster
        var record: CoordinatorRecord
        /// The shard whose copy of the record is the newest.
        var source: MemberID
        /// Owners that were not waited for any longer.
        var absent: [MemberID]

        var summary: String {
            "the state was made again from what the shards have\(without): \(source) had the newest copy of the record (term \(record.term), slice map "
                + "\(record.mapVersion), \(record.classVersion) operations on the classes). Orders of the last second before the loss, earlier "
                + "events and evaluations are not in it: see `coordinator status`, `checkpoints`, `classes list`"
        }

        private var without: String {
            absent.isEmpty
                ? ""
                : ", without \(absent.map { "\($0)" }.joined(separator: ", ")) (what it owned is made from second copies)"
        }
    }

    private let log: Logger
    private let mailbox = Mailbox<ServerEvent>()
    private let server: ServerEndpoint
    private var adoption: Adoption
    /// What the newest copy says of the cluster.
    private var cluster: CoordinatorDatabase.Cluster?
    private var refusals = LogThrottle()
    private var reason = ""
    private let start = ContinuousClock.now

    /// Since it has listened.
    private var now: Duration { .now - start }

    /// Where it listens.
    var address: Endpoint { server.address }

    /// - Throws: `WireError` if the endpoint cannot be bound.
    init(setup: RunSetup, bind: String, security: ServerSecurity, log: Logger) throws {
        self.log = log
        let configuration = CoordinatorConfiguration(setup, origin: nil)
        adoption = Adoption(
            sliceCount: configuration.sliceCount, denseSliceCount: configuration.denseSliceCount,
            patience: configuration.copies > 1 ? configuration.lease + configuration.promoteAfter : nil)
        server = try ServerEndpoint(bind: bind, security: security, events: mailbox.sink { $0 })
        if let warning = server.warning { log.warning("\(warning)") }
    }

    /// Returns when every shard that owns slices is there, or what the others own can be had without them.
    func run() -> Found {
        log.info("listening at \(server.endpoint) for the shard servers of a run whose state is lost")
        defer { server.close() }
        while true {
            let now = self.now
            switch adoption.outcome(at: now) {
            case .complete(let newest, let record, let absent):
                if let cluster { return Found(cluster: cluster, record: record, source: newest, absent: absent) }
            case .waiting(let reason):
                if reason != self.reason { log.warning("\(reason)") }
                self.reason = reason
            }
            let wait = adoption.deadline.map { $0 > now ? $0 - now : .seconds(60) } ?? .seconds(60)
            guard case .received(let peer, let request, let message)? = mailbox.next(within: min(wait, .seconds(60)))
            else { continue }
            receive(message, peer, request)
        }
    }

    private func receive(_ message: WireMessage, _ peer: PeerID, _ request: UInt64) {
        switch message {
        case .hello(let hello):
            if let refusal = hello.versionRefusal {
                server.refuse(peer, request: request, refusal)
            } else {
                receive(hello, peer, request)
            }
        case .operatorRequest:
            let reason = "the state is being made again from what the shards have: \(reason)"
            server.send(
                .operatorReply(OperatorReply(refusing: reason, exitCode: 75)), to: peer, request: request)
        default: break
        }
    }

    private func receive(_ hello: Hello, _ peer: PeerID, _ request: UInt64) {
        switch hello.role {
        case .operator:
            server.welcome(peer, request: request, Welcome(clusterID: hello.clusterID, member: MemberID(.operator, 0)))
        case .shard: hear(hello)
        case .worker: break
        }
    }

    private func hear(_ hello: Hello) {
        guard !hello.clusterID.isEmpty, hello.previousNumber >= 0, let state = hello.state else {
            return adoption.hear(incarnation: hello.incarnation, endpoint: hello.endpoint)
        }
        var stored: StoredCopy?
        var claim = Adoption.Claim(
            cluster: hello.clusterID, number: hello.previousNumber, term: hello.term, state: state, copy: nil)
        if let kept = try? JSONDecoder().decode(KeptRecord.self, from: Data(hello.record.utf8)), let copy = kept.copy,
            let found = try? StoredCopy(text: copy.text), found.id == hello.clusterID
        {
            if let problem = found.problem(
                sliceCount: adoption.sliceCount, denseSliceCount: adoption.denseSliceCount)
            {
                if let rest = refusals.next() {
                    log.warning(
                        "the copy of the record that shard-\(hello.previousNumber) at \(hello.endpoint) keeps cannot be one: \(problem)\(rest)"
                    )
                }
                return
            }
            claim.copy = .init(number: found.number, record: found.record)
            claim.applied = kept.applied
            stored = found
        }
        if adoption.hear(claim, at: now) { cluster = stored?.cluster }
    }
}
