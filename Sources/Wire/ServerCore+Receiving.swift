internal import CZeroMQ
internal import Cluster
import Tensors

/// What comes in: checked, put together, and handed to the owner.
extension ServerCore {
    func receive() {
        // A bound, so that answers go out and other sockets have their turn.
        for _ in 0..<256 where wantsMessages {
            guard let received = socket.receive(limit: Bound.tensors + 3, hasIdentity: true) else { return }
            accept(received)
        }
    }

    private func accept(_ received: ZMQSocket.Received) {
        guard let identity = received.frames.first else { return }
        let peer = PeerID(bytes: Array(UnsafeRawBufferPointer(start: identity.base, count: identity.byteCount)))
        let before = state.withLock { $0.peers[peer]?.connection }
        // Who comes over a new connection has left the old one, which ZeroMQ would keep.
        if let old = watch.read(received, of: peer, before: before) { _ = watch.end(old) }
        guard let isWelcomed = heard(peer, received) else { return }
        let byteCount = received.byteCount
        do {
            let (request, part) = try WireCodec.decode(received.frames.dropFirst(), limits: limits) {
                isWelcomed ? options.memory.storage(byteCount: $0) : ReceiveMemory.placeholder(byteCount: $0)
            }
            var isHello = false
            if case .message(.hello) = part { isHello = true }
            guard isWelcomed || isHello else {
                object(peer, request: request, Refusal(.notWelcomed, "say hello before \(part.name)"))
                return
            }
            if let (request, message, byteCount) = try complete(part, request, byteCount, of: peer) {
                post(message, request, byteCount, of: peer)
            }
        } catch {
            let error = error as? WireError ?? WireError(.header, "\(error)")
            object(peer, request: error.request, Refusal(error.refusalCode, error.message))
        }
    }

    /// Puts a large message together; returns what is whole.
    private func complete(
        _ part: WirePart, _ request: UInt64, _ byteCount: Int, of peer: PeerID
    ) throws -> (request: UInt64, message: WireMessage, byteCount: Int)? {
        if case .fragment(let fragment) = part {
            let finished = try unfinished.add(fragment, of: peer)
            state.withLock { state in
                state.counters.parts += 1
                state.peers[peer]?.fragments += 1
            }
            return finished.map { ($0.request, $0.message, $0.byteCount) }
        }
        // The fragments of a message follow it at once: its sender has given up what is not finished by now.
        if let dropped = unfinished.drop(peer) {
            object(peer, request: dropped.request, dropped.interruption)
        }
        guard let message = part.message else { return nil }
        guard message.isForServers else {
            throw WireError(.unknownMessage, "a server does not take \(message.name)", request: request)
        }
        if let gate { try check(message, request, of: peer, gate) }
        guard try admit(message, request, of: peer) else { return nil }
        guard case .announcement(let announced) = part else { return (request, message, byteCount) }
        let share = state.withLock { $0.peers[peer]?.share ?? .stranger }
        for (slow, message) in try unfinished.begin(announced, of: peer, share) {
            let text = "\(message.message.name) came too slowly, and others need the room: send it again later"
            state.withLock { $0.counters.unfinished += 1 }
            object(slow, request: message.request, Refusal(.tooLarge, text))
        }
        state.withLock { $0.counters.parts += 1 }
        return nil
    }

    /// Notes that a peer is there, and under which key; says whether it was welcomed. nil if nobody needs to look at what it sends: its
    /// connection has ended, or it asks and asks without waiting for answers.
    private func heard(_ peer: PeerID, _ received: ZMQSocket.Received) -> Bool? {
        let key = gate?.key(of: received.user)
        let isOpen = received.descriptor < 0 || watch.isOpen(received.descriptor)
        return state.withLock { state in
            state.clock += 1
            state.counters.bytesIn += received.byteCount
            if state.peers[peer] == nil {
                if state.peers.count >= options.peerCapacity {
                    let oldest = state.peers.min {
                        ($0.value.isWelcomed ? 1 : 0, $0.value.lastHeard) < (
                            $1.value.isWelcomed ? 1 : 0, $1.value.lastHeard
                        )
                    }
                    if let oldest {
                        close(&state, questionOf: oldest.key)
                        state.peers[oldest.key] = nil
                    }
                }
                state.peers[peer] = Peer(account: SendAccount(), lastHeard: state.clock)
            }
            state.peers[peer]?.lastHeard = state.clock
            if state.peers[peer]?.key?.key != key?.key {
                // Who comes with another's routing id is not that other, and whose key was revoked is nobody.
                state.peers[peer]?.isWelcomed = false
                state.peers[peer]?.member = nil
            }
            state.peers[peer]?.key = key
            if isOpen {
                state.peers[peer]?.connection = received.descriptor >= 0 ? received.descriptor : nil
                state.peers[peer]?.isGone = false
            }
            guard let known = state.peers[peer] else { return nil }
            // The last words of members count.
            if known.share != .member, !isOpen || isAskingTooMuch(&state, peer) {
                state.counters.ignored += 1
                return nil
            }
            return known.isWelcomed
        }
    }

    /// Whether the peer's key allows the message.
    private func check(_ message: WireMessage, _ request: UInt64, of peer: PeerID, _ gate: Gatekeeper) throws {
        let (key, member) = state.withLock { ($0.peers[peer]?.key, $0.peers[peer]?.member) }
        guard let key else {
            gate.noteRevoked(nil)
            throw WireError(.forbidden, "the key of this process was revoked", request: request)
        }
        if let objection = key.objection(to: message, from: member) {
            throw WireError(.forbidden, objection, request: request)
        }
    }

    /// Peers whose keys are not accepted any more get nothing from now on.
    func dropRevoked(_ gate: Gatekeeper) {
        state.withLock { state in
            for (peer, known) in state.peers {
                if let key = known.key, gate.key(of: key.key.text) == key { continue }
                state.peers[peer]?.key = nil
                state.peers[peer]?.member = nil
                state.peers[peer]?.isWelcomed = false
                state.queue.removeAll { $0.peer == peer }
            }
        }
    }
}
