internal import Cluster

/// Questions of operators and readers, which must not keep the cluster from its work: each peer has one open at most, and all together a
/// number of them.
extension ServerCore {
    /// Whether a message may come in, as far as questions go. One that repeats what the peer waits for needs no second answer.
    ///
    /// - Throws: `WireError` if the peer, or too many others, wait for an answer already.
    func admit(_ message: WireMessage, _ request: UInt64, of peer: PeerID) throws(WireError) -> Bool {
        var isRepeated = false
        let refusal: String? = state.withLock { state in
            guard let known = state.peers[peer], known.isWelcomed, message.isQuestion(of: known.share) else {
                return nil
            }
            let now = ContinuousClock.now
            if let question = known.question {
                guard now - question.since > options.questionDeadline else {
                    isRepeated = question.request == request
                    return
                        "one question at a time: \(message.name) came before request \(question.request) was answered"
                }
                close(&state, questionOf: peer)
            }
            if state.openQuestions >= options.openQuestions {
                closeOverdue(&state, now)
            }
            guard state.openQuestions < options.openQuestions, state.openByteCount < options.openQuestionByteCapacity
            else {
                return "\(state.openQuestions) questions of others wait to be answered: ask again later"
            }
            let room = options.room(of: known.share).answers
            guard known.account.byteCount <= room.each / 2 else {
                return "\(known.account.byteCount) bytes of answers wait to be read by this peer: read them first"
            }
            guard let common = accounts[known.share], common.byteCount <= room.together / 4 * 3 else {
                return "\(room.together / 4 * 3) bytes of answers wait to be read by others: ask again later"
            }
            return nil
        }
        guard let refusal else { return true }
        state.withLock { state in
            state.peers[peer]?.refusedQuestions += 1
            if isRepeated { state.counters.ignored += 1 }
        }
        if isRepeated { return false }
        throw WireError(.busy, refusal, request: request)
    }

    /// Refusals that a peer gets before it is not listened to any more, until it has its answer.
    private static var refusalLimit: Int { 256 }

    func isAskingTooMuch(_ state: inout State, _ peer: PeerID) -> Bool {
        guard let known = state.peers[peer], let question = known.question,
            known.refusedQuestions >= Self.refusalLimit
        else { return false }
        return .now - question.since < options.questionDeadline
    }

    /// Hands a message to the owner. Questions wait until nothing else does.
    func post(_ message: WireMessage, _ request: UInt64, _ byteCount: Int, of peer: PeerID) {
        var isHello = false
        if case .hello = message { isHello = true }
        let (isWanted, isQuestion) = state.withLock { state in
            if isHello {
                // One that says hello without waiting for the answer is answered now and then.
                if let hello = state.peers[peer]?.hello, .now - hello.since < .seconds(1) {
                    state.counters.reject(.busy)
                    return (false, false)
                }
                state.peers[peer]?.hello = Question(request: request)
            }
            state.counters.received += 1
            guard let share = state.peers[peer]?.share, message.isQuestion(of: share) else { return (true, false) }
            close(&state, questionOf: peer)
            state.peers[peer]?.question = Question(request: request, byteCount: byteCount)
            state.openQuestions += 1
            state.openByteCount += byteCount
            return (true, true)
        }
        if isWanted {
            events.post(.received(peer: peer, request: request, message: message), byteCount, isPatient: isQuestion)
        }
    }

    /// The owner has answered what a peer asked under this number.
    func answered(_ state: inout State, _ request: UInt64, by peer: PeerID) {
        if state.peers[peer]?.question?.request == request { close(&state, questionOf: peer) }
        if state.peers[peer]?.hello?.request == request { state.peers[peer]?.hello = nil }
    }

    /// The peer does not wait any more.
    func close(_ state: inout State, questionOf peer: PeerID) {
        guard let question = state.peers[peer]?.question else { return }
        state.peers[peer]?.question = nil
        state.peers[peer]?.refusedQuestions = 0
        state.openQuestions -= 1
        state.openByteCount -= question.byteCount
    }

    private func closeOverdue(_ state: inout State, _ now: ContinuousClock.Instant) {
        for (peer, known) in state.peers {
            if let question = known.question, now - question.since > options.questionDeadline {
                close(&state, questionOf: peer)
            }
        }
    }
}
