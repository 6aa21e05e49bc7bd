internal import Cluster

/// The connections that messages come over.
extension ServerCore {
    var monitor: SocketMonitor? { observer }

    func observe() {
        while let event = observer.next() {
            gate?.observe(event)
            switch event {
            case .accepted(let descriptor):
                watch.accepted(descriptor)
                // It has a descriptor that was lent.
                if spares.isShort { end(descriptor, .descriptors, .now) }
            case .disconnected(let descriptor):
                let peer = watch.closed(descriptor)
                spares.refill()
                if let peer { gone(peer, descriptor) }
            case .acceptFailed: makeRoom(.now)
            case .succeeded, .failed: break
            }
        }
    }

    /// No connection could be accepted: whoever is not needed gives a descriptor, or a spare one is lent.
    private func makeRoom(_ now: ContinuousClock.Instant) {
        state.withLock { $0.counters.unaccepted += 1 }
        // ZeroMQ tells of it again and again until there is one.
        if spares.isShort || lastUnaccepted.map({ now - $0 < .milliseconds(20) }) ?? false { return }
        lastUnaccepted = now
        if toldUnaccepted == nil {
            toldUnaccepted = now
            events.post(.trouble(.noDescriptors(connections: watch.connections.count)), 0)
        }
        let strangers = watch.shed(16, standing)
        for descriptor in strangers { end(descriptor, .descriptors, now) }
        if strangers.isEmpty { _ = spares.lend() }
    }

    /// Looks after the connections, when it is time to.
    func tend(_ now: ContinuousClock.Instant) {
        let toEnd = state.withLock { state in
            defer { state.toEnd = [] }
            return state.toEnd.compactMap { state.peers[$0]?.connection }
        }
        for descriptor in toEnd { end(descriptor, .unread, now, share: .observer) }
        guard watch.isDue(now) else { return }
        spares.refill()
        if let last = lastUnaccepted, toldUnaccepted != nil, !spares.isShort, now - last > .seconds(10) {
            toldUnaccepted = nil
            events.post(.trouble(.accepting), 0)
        }
        let verdicts = watch.look(
            now, isReading: wantsMessages, hasMessage: { socket.hasMessage }, standing: standing)
        for (peer, descriptor) in watch.takeVanished() { gone(peer, descriptor) }
        for verdict in verdicts { end(verdict.descriptor, verdict.reason, now) }
        state.withLock { $0.counters.connections = watch.connections.count }
    }

    private func standing(_ peer: PeerID?) -> ConnectionWatch.Standing {
        guard let peer else { return ConnectionWatch.Standing(share: .stranger, waiting: 0) }
        return state.withLock { state in
            let known = state.peers[peer]
            return ConnectionWatch.Standing(share: known?.share ?? .stranger, waiting: known?.account.byteCount ?? 0)
        }
    }

    private func end(
        _ descriptor: Int32, _ reason: ConnectionTrouble.Reason, _ now: ContinuousClock.Instant, share: PeerShare? = nil
    ) {
        let peer = watch.connections[descriptor]?.peer
        let share = share ?? standing(peer).share
        let address = SocketMonitor.address(of: descriptor)
        guard watch.end(descriptor) else { return }
        state.withLock { $0.counters.ended[reason, default: 0] += 1 }
        keeper.isDue = true
        if let trouble = throttle.note(reason, address: address, share: share, at: now) {
            events.post(.trouble(trouble), 0)
        }
        guard let peer else { return }
        state.withLock { state in
            // Under another connection by now: that one is not concerned.
            guard state.peers[peer]?.connection == descriptor else { return }
            state.peers[peer]?.isWelcomed = false
            state.queue.removeAll { $0.peer == peer }
        }
        gone(peer, descriptor)
    }

    /// The connection of a peer has ended.
    private func gone(_ peer: PeerID, _ descriptor: Int32) {
        let isGone = state.withLock { state in
            guard state.peers[peer]?.connection == descriptor else { return false }
            state.peers[peer]?.connection = nil
            state.peers[peer]?.isGone = true
            close(&state, questionOf: peer)
            return true
        }
        // It begins anew over its next connection.
        if isGone, unfinished.drop(peer) != nil { state.withLock { $0.counters.unfinished += 1 } }
    }
}
