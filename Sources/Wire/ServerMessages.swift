extension WireMessage {
    /// Whether a server takes the message. Answers it does not: refusing a refusal would never end.
    var isForServers: Bool {
        switch self {
        case .hello, .acknowledged, .heartbeat, .ready, .stepDone, .stepFailed, .evaluation, .leave, .taskDone,
            .stepPrepared, .resultsDone, .stepRequest, .transferRequest, .operatorRequest, .readRows,
            .readSliceHashes, .readClasses:
            true
        case .welcome, .refused, .standingBy, .heartbeatReply, .plan, .stepReply, .transferReply, .operatorReply, .rows,
            .sliceHashes, .classes:
            false
        }
    }

    /// Whether it asks for something that has nothing to do with the steps, and may take a while.
    ///
    /// Members have questions too, which they ask one at a time by themselves.
    func isQuestion(of share: PeerShare) -> Bool {
        switch self {
        case .readRows, .readSliceHashes: true
        case .hello, .acknowledged: false
        default: share == .observer
        }
    }
}
