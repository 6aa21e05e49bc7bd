import Cluster
import StepProtocol
import Tensors
import Wire

extension WorkerService {
    /// What is known of the connection to a shard.
    struct Link {
        /// Fragments that have come, and bytes that waited to be sent, when they were last looked at.
        var parts = 0
        var waiting = 0
        /// Whether the shard answers questions about requests.
        var answersQueries = false
        /// When it was last asked for a sign of life, and since when it owes one.
        var asked: ContinuousClock.Instant?
        var owes = false

        mutating func welcomed(_ welcome: Welcome) {
            answersQueries = welcome.answersQueries
            owes = false
        }
    }

    /// Less than this is no payload on its way.
    private static let fewBytes = 64 << 10

    /// Asks about a request that is not answered. Its payload is not sent again unless the shard knows no such questions, and then not
    /// while it still waits here.
    func ask(_ request: StepRequest<[Tensor]>, of shard: MemberID) {
        if unsent[shard]?[request.phase] != nil { return }  // it has not left yet
        if links[shard]?.answersQueries == true {
            send(request, to: shard)
        } else if shards[shard]?.waitingByteCount ?? 0 < Self.fewBytes {
            var whole = request
            whole.query = .none
            send(whole, to: shard)
        }
    }

    /// Tells the machine of shards to or from which large messages move.
    func noteTraffic() {
        for (shard, connection) in shards {
            var link = links[shard] ?? Link()
            let (parts, waiting) = (connection.counters.parts, connection.waitingByteCount)
            let moves = parts != link.parts || waiting < link.waiting && link.waiting >= Self.fewBytes
            (link.parts, link.waiting) = (parts, waiting)
            links[shard] = link
            if moves { drive(.moving(shard)) }
        }
    }

    /// While it takes no part in a step, a worker asks the shards every few seconds for a sign of life, by saying hello again.
    ///
    /// - Returns: the shards that owe one for seconds. The coordinator lets nobody in who does not reach them.
    func probe() -> [MemberID] {
        guard machine?.current == nil else {
            for shard in links.keys { links[shard]?.asked = nil }
            return []
        }
        var silent: [MemberID] = []
        for (shard, connection) in shards {
            let asked = links[shard]?.asked
            if links[shard]?.owes == true, let asked, asked + .seconds(2) < .now { silent.append(shard) }
            guard links[shard]?.owes != true, asked.map({ $0 + .seconds(5) <= .now }) ?? true else { continue }
            links[shard, default: Link()].asked = .now
            links[shard]?.owes = true
            connection.greet()
        }
        return silent.sorted()
    }
}
