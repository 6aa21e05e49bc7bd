public import Cluster

/// Who sent a request, as the hello of its connection said.
public struct StepSender: Sendable, Hashable {
    public var member: MemberID
    public var incarnation: UInt64

    public init(member: MemberID, incarnation: UInt64) {
        self.member = member
        self.incarnation = incarnation
    }
}

extension Plan {
    /// What in a request of this plan's attempt contradicts the plan, or nil.
    ///
    /// A shard compares every request: who is no rank of the attempt cannot take part in it, whatever it says.
    func objection<Payload>(
        to request: StepRequest<Payload>, from sender: StepSender?
    ) -> (code: RefusalCode, message: String)? {
        let what = "rank \(request.rank) of \(request.id)"
        guard request.worldSize == ranks.count, ranks.indices.contains(request.rank) else {
            return (.malformed, "\(what) says there are \(request.worldSize) ranks, the plan has \(ranks.count)")
        }
        let rank = ranks[request.rank]
        if let sender {
            guard sender.member == rank.worker else {
                return (.incarnation, "\(what) is \(rank.worker), not \(sender.member)")
            }
            if let known = rank.incarnation, known != sender.incarnation {
                return (.incarnation, "\(what) is another process that was \(rank.worker)")
            }
        }
        if request.microBatches != rank.microBatches {
            return (.malformed, "\(what) has micro-batches \(request.microBatches), the plan \(rank.microBatches)")
        }
        if let committedID, let other = request.committedID, other != committedID {
            return (
                .malformed,
                "\(what) goes on from \(other.place), committed is \(committedID.place): what it holds is not the cluster's state"
            )
        }
        if request.exchange != exchange {
            return (.malformed, "\(what) uses exchange \(request.exchange), the plan \(exchange)")
        }
        if job?.setsRate != true, request.learningRate.bitPattern != learningRate.bitPattern {
            return (.malformed, "\(what) has learning rate \(request.learningRate), the plan \(learningRate)")
        }
        return nil
    }
}
