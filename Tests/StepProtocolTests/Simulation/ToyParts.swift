internal import Cluster
internal import StepProtocol

/// Cuts the features of a rank of a job into parts on their way to the shards, as one that accumulates gradients does.
///
/// The rank's machine knows of one `forward`: it gets one answer, put together from those of the parts.
struct ToyParts {
    private var attempt: StepID?
    private var shards: [MemberID: Shard] = [:]

    private struct Shard {
        var request: StepRequest<Words>
        var end: Int
        var answers = Words()
    }

    /// Micro-batches of a part in this attempt; 0: the features go in one piece.
    private func size(_ id: StepID, _ job: ToyJob) -> Int {
        Int(Toy.mix(Toy.mix(job.id, UInt64(id.step)), UInt64(id.attempt)) % 3)
    }

    /// What is sent in the place of a request.
    mutating func cut(_ request: StepRequest<Words>, to shard: MemberID, of job: ToyJob?) -> StepRequest<Words> {
        guard let job, request.phase == .forward, request.exchange == .features, size(request.id, job) > 0 else {
            return request
        }
        if attempt != request.id { (attempt, shards) = (request.id, [:]) }
        if shards[shard] == nil { shards[shard] = Shard(request: request, end: request.microBatches.lowerBound) }
        if request.query == .none { shards[shard]?.request = request }
        var part = request
        let all = request.microBatches
        let end = shards[shard]?.end ?? all.lowerBound
        let range = end..<min(end + size(request.id, job), all.upperBound)
        part.part = range
        if request.query == .none {
            part.payload = Words(request.payload[range.lowerBound - all.lowerBound..<range.upperBound - all.lowerBound])
        }
        return part
    }

    /// What a reply to a part means to the machine, nil for nothing; and what is to be sent next.
    mutating func join(
        _ reply: StepReply<Words>, from shard: MemberID, of job: ToyJob?
    ) -> (reply: StepReply<Words>?, next: StepRequest<Words>?) {
        guard let part = reply.part else { return (reply, nil) }
        guard reply.id == attempt, let job, let known = shards[shard], known.end == part.lowerBound else {
            return (nil, nil)
        }
        var whole = reply
        whole.part = nil
        guard case .done(let words) = reply.outcome else { return (whole, nil) }
        shards[shard]?.end = part.upperBound
        shards[shard]?.answers += words
        if part.upperBound < known.request.microBatches.upperBound {
            return (nil, cut(known.request, to: shard, of: job))
        }
        whole.outcome = .done(known.answers + words)
        return (whole, nil)
    }
}
