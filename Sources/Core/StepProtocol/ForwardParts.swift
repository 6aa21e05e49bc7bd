internal import Cluster

/// The features that a rank has sent in an attempt: all at once, or in parts, one after the other, of a job that accumulates gradients.
struct ForwardParts<Payload: Sendable>: Sendable {
    private var parts: [(microBatches: Range<Int>, payload: Payload)] = []
    /// The answer to the last part, once computed.
    var reply: Payload?
    /// What the request of the last part called it: nil if it said that it is all.
    private(set) var part: Range<Int>?

    var isEmpty: Bool { parts.isEmpty }
    /// Whether the last part is not answered yet.
    var isRunning: Bool { !parts.isEmpty && reply == nil }
    var payloads: [Payload] { parts.map(\.payload) }
    /// The first micro-batch that is not there, if any are.
    var end: Int? { parts.last?.microBatches.upperBound }

    func contains(_ microBatches: Range<Int>) -> Bool { parts.contains { $0.microBatches == microBatches } }
    func isLast(_ microBatches: Range<Int>) -> Bool { parts.last?.microBatches == microBatches }

    /// Why the part that a request brings cannot come next, or nil.
    func objection(to request: StepRequest<Payload>) -> String? {
        let (all, features) = (request.microBatches, request.features)
        let what = "micro-batches \(features) of rank \(request.rank) of \(request.id)"
        if request.part != nil,
            features.isEmpty || features.lowerBound < all.lowerBound || features.upperBound > all.upperBound
        {
            return "\(what) are no part of its \(all)"
        }
        if isRunning { return "\(what) came before the answer to the part before them" }
        let next = end ?? all.lowerBound
        return features.lowerBound == next ? nil : "\(what) came where those from \(next) on are next"
    }

    mutating func append(_ request: StepRequest<Payload>) {
        parts.append((request.features, request.payload))
        (reply, part) = (nil, request.part)
    }

    /// Keeps which parts there were, and no payloads.
    mutating func dropPayloads(leaving empty: Payload) {
        for index in parts.indices { parts[index].payload = empty }
    }
}

extension StepRequest {
    /// The micro-batches that the features of a `forward` are of.
    var features: Range<Int> { part ?? microBatches }
}

extension ShardAttempt {
    /// Why the rank cannot send `backward` yet, or nil: it began to send its features in parts, and has not sent the last.
    func gap(beforeBackwardOf rank: Int) -> String? {
        guard !ranks[rank].seen.contains(.forward), let all = ranks[rank].microBatches,
            let end = ranks[rank].forward.end
        else { return nil }
        return "backward of rank \(rank) of \(id) came before the features of its micro-batches \(end..<all.upperBound)"
    }
}
