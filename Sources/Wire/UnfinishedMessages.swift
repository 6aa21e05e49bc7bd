internal import Cluster

/// The unfinished messages of an endpoint, one per peer at most. Used by the socket's thread.
///
/// Members have room of their own, which nobody else can take. A message has to come at a rate: whoever sends a byte now and then gives
/// the room back, at once if others need it.
struct UnfinishedMessages {
    private struct Entry {
        var message: UnfinishedMessage
        var share: PeerShare
        var lastHeard: ContinuousClock.Instant
        /// The beginning of the time over which its rate is measured, and what was there then.
        var since: ContinuousClock.Instant
        var before = 0

        /// Bytes a second since then.
        func rate(_ now: ContinuousClock.Instant) -> Double {
            Double(message.receivedByteCount - before) / max((now - since) / .seconds(1), 1e-3)
        }
    }

    private let options: TransportOptions
    private var deadline: Duration { options.unfinishedDeadline }
    private var window: Duration { deadline / 2 }
    private var entries: [PeerID: Entry] = [:]
    /// Bytes that they will have when they are finished.
    private var byteCounts: [PeerShare: Int] = [:]
    /// Whether no messages were taken when that was last asked.
    private var isPaused = false

    init(_ options: TransportOptions) { self.options = options }

    /// Bytes of all together.
    var byteCount: Int { byteCounts.values.reduce(0, +) }

    /// Takes an announcement.
    ///
    /// - Returns: messages that gave way to it because they came slowly.
    /// - Throws: `WireError` if there is no room for more.
    @discardableResult
    mutating func begin(
        _ message: UnfinishedMessage, of peer: PeerID, _ share: PeerShare = .member,
        _ now: ContinuousClock.Instant = .now
    ) throws(WireError) -> [(peer: PeerID, message: UnfinishedMessage)] {
        let room = options.room(of: share).unfinished
        guard message.byteCount <= room.each else {
            throw WireError(
                .tooLarge,
                "\(message.message.name) was announced with \(message.byteCount) bytes in fragments; at most \(room.each) are taken of \(share.described)",
                request: message.request)
        }
        drop(peer)
        var displaced: [(peer: PeerID, message: UnfinishedMessage)] = []
        // A message on its own is bounded by its own limit.
        while let used = byteCounts[share], used > 0, used + message.byteCount > room.together {
            guard let slow = slowest(share, now), let dropped = drop(slow) else {
                throw WireError(
                    .tooLarge,
                    "unfinished messages of \(used) bytes wait for their fragments, \(message.byteCount) more exceed \(room.together): send it again later",
                    request: message.request)
            }
            displaced.append((slow, dropped))
        }
        entries[peer] = Entry(message: message, share: share, lastHeard: now, since: now)
        byteCounts[share, default: 0] += message.byteCount
        return displaced
    }

    /// The slowest message of a kind that is slower than all may be, and has had some seconds to show it.
    private func slowest(_ share: PeerShare, _ now: ContinuousClock.Instant) -> PeerID? {
        entries.filter {
            $0.value.share == share && now - $0.value.since > window / 6
                && $0.value.rate(now) < Double(options.unfinishedByteRate)
        }.min { $0.value.rate(now) < $1.value.rate(now) }?.key
    }

    /// Takes a fragment; returns the message that it completes.
    ///
    /// - Throws: `WireError` if it is not the next one of what the peer has announced. That is dropped then.
    mutating func add(_ fragment: Fragment, of peer: PeerID) throws(WireError) -> UnfinishedMessage? {
        guard var entry = entries[peer] else {
            throw WireError(
                .field, "a fragment of series \(fragment.series), which was not announced or has been given up")
        }
        // Not two references to what is written to.
        drop(peer)
        if try entry.message.add(fragment) { return entry.message }
        entry.lastHeard = .now
        byteCounts[entry.share, default: 0] += entry.message.byteCount
        entries[peer] = entry
        return nil
    }

    /// What a peer has sent of a step reply so far, if it is `byteCount` bytes more than when this was last asked with success.
    mutating func arrivingReply(of peer: PeerID, every byteCount: Int) -> ArrivingReply? {
        guard entries[peer]?.message.hasArrived(byteCount) == true else { return nil }
        return entries[peer]?.message.arrivingReply
    }

    /// Gives up what a peer has not finished; returns it.
    @discardableResult
    mutating func drop(_ peer: PeerID) -> UnfinishedMessage? {
        guard let entry = entries.removeValue(forKey: peer) else { return nil }
        byteCounts[entry.share, default: 0] -= entry.message.byteCount
        return entry.message
    }

    /// Gives up those whose fragments have stopped coming, or come too slowly.
    ///
    /// - Parameter isReading: whether messages are taken at all now: what waits in TCP has not stopped coming.
    /// - Returns: how many, and when to look again.
    mutating func dropOverdue(
        _ now: ContinuousClock.Instant, isReading: Bool
    ) -> (count: Int, next: ContinuousClock.Instant?) {
        // What came while nothing was read is read next: until then it is not missing.
        let hasPaused = !isReading || isPaused
        isPaused = !isReading
        guard !entries.isEmpty else { return (0, nil) }
        guard !hasPaused else {
            for peer in entries.keys { restart(peer, now) }
            return (0, now + window)
        }
        var count = 0
        for (peer, entry) in entries {
            let isSlow = now - entry.since >= window && entry.rate(now) < Double(options.unfinishedByteRate)
            if entry.lastHeard + deadline <= now || isSlow {
                drop(peer)
                count += 1
            } else if now - entry.since >= window {
                restart(peer, now, heard: entry.lastHeard)
            }
        }
        return (count, entries.values.map { min($0.lastHeard + deadline, $0.since + window) }.min())
    }

    private mutating func restart(
        _ peer: PeerID, _ now: ContinuousClock.Instant, heard: ContinuousClock.Instant? = nil
    ) {
        let received = entries[peer]?.message.receivedByteCount ?? 0
        entries[peer]?.lastHeard = heard ?? now
        entries[peer]?.since = now
        entries[peer]?.before = received
    }

    mutating func dropAll() {
        entries = [:]
        byteCounts = [:]
    }
}
