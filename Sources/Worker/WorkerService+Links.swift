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

    /// Asks the shards for signs of life by saying hello again, while this worker takes no part in a step.
    ///
    /// - Returns: the shards that have not answered for seconds.
    func unreachedShards() -> [MemberID] {
        guard machine?.current == nil else {
            probe.stop()
            return []
        }
        let (ask, silent) = probe.look(at: shards.keys.sorted(), now)
        for shard in ask { shards[shard]?.greet() }
        return silent
    }
}
