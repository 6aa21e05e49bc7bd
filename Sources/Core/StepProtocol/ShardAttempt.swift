internal import Cluster

/// What a shard knows of the attempt that it is computing.
struct ShardAttempt<Peer: Hashable & Sendable, Payload: Sendable>: Sendable {
    /// How far a computation that needs every rank is.
    enum Progress: Sendable {
        case idle, running, done
    }

    /// What one rank has sent, and who waits for the answer. Payloads are dropped as soon as nothing needs them.
    struct Rank: Sendable {
        var microBatches: Range<Int>?
        var waiting: [StepPhase: Peer] = [:]
        var seen: Set<StepPhase> = []
        var labels: Payload?
        var forward = ForwardParts<Payload>()
        var backward: Payload?
        var dense: Payload?
        /// When the rank last sent something new, or was last answered.
        var lastHeard = Duration.zero

        /// Payloads held for this rank.
        var payloadCount: Int {
            [labels, forward.reply, backward, dense].count { $0 != nil } + (forward.isEmpty ? 0 : 1)
        }
    }

    let id: StepID
    let exchange: Exchange
    let learningRate: Float
    /// The values of the head in the step, as the plan that announces the attempt has them; nil: those of the configuration.
    let head: HeadValues?
    /// Whether the workers' network is their own: there are no dense slices, and the step ends with `backward`.
    let isHeadOnly: Bool
    var ranks: [Rank]
    var sample = Progress.idle
    var backward = Progress.idle
    var dense = Progress.idle
    var update = Progress.idle
    var sampleReply: Payload?
    var denseReply: Payload?
    var updateInput: Payload?
    var updateReply: Payload?
    var failure: ShardWaiting.Failure?
    /// The time of the event in hand.
    var clock: Duration

    init(_ request: StepRequest<Payload>, isHeadOnly: Bool, head: HeadValues?, at now: Duration) {
        self.isHeadOnly = isHeadOnly
        clock = now
        id = request.id
        exchange = request.exchange
        learningRate = request.learningRate
        self.head = head
        ranks = Array(repeating: Rank(), count: request.worldSize)
    }

    /// The step may be committed: its update is applied and every later request for it is answered from the record.
    var isPrepared: Bool { updateReply != nil && failure == nil }

    /// What in `request` contradicts the other ranks, or nil.
    func disagreement(with request: StepRequest<Payload>) -> String? {
        let rank = "rank \(request.rank) of \(id)"
        if request.worldSize != ranks.count {
            return "\(rank) says there are \(request.worldSize) ranks, another rank said \(ranks.count)"
        }
        if request.exchange != exchange {
            return "\(rank) uses exchange \(request.exchange), another rank \(exchange)"
        }
        if request.learningRate.bitPattern != learningRate.bitPattern {
            return "\(rank) has learning rate \(request.learningRate), another rank \(learningRate)"
        }
        if let announced = ranks[request.rank].microBatches, announced != request.microBatches {
            return "\(rank) announced micro-batches \(announced) and now \(request.microBatches)"
        }
        return nil
    }

    /// What is wrong with the micro-batches that the ranks announced, or nil: they must cover 0..<count once.
    func gap(microBatchCount: Int) -> String? {
        var covered = 0
        let ranges = ranks.compactMap { $0.microBatches }.filter { !$0.isEmpty }.sorted {
            $0.lowerBound < $1.lowerBound
        }
        for range in ranges {
            if range.lowerBound != covered {
                let what = range.lowerBound < covered ? "computed twice" : "not computed"
                let missing = min(range.lowerBound, covered)..<max(range.lowerBound, covered)
                return "micro-batches \(missing) of \(id) are \(what)"
            }
            covered = range.upperBound
        }
        return covered == microBatchCount
            ? nil : "micro-batches \(covered)..<\(microBatchCount) of \(id) are not computed"
    }

    /// Drops every payload except the answers: the attempt has failed.
    mutating func dropPayloads() {
        for rank in ranks.indices {
            ranks[rank].labels = nil
            ranks[rank].forward = ForwardParts()
            ranks[rank].backward = nil
            ranks[rank].dense = nil
        }
        updateInput = nil
    }

    /// Payloads held by this attempt.
    var payloadCount: Int {
        ranks.reduce(0) { $0 + $1.payloadCount }
            + [sampleReply, denseReply, updateInput, updateReply].count { $0 != nil }
    }
}
