internal import CKernels
internal import Cluster

/// The connections of a server, watched from outside of ZeroMQ: how much it holds of each that nobody has seen yet.
///
/// ZeroMQ shows a message when all its frames are there, however many, and bounds only single frames. But TCP tells how many bytes came
/// over a connection, and what was read of it is counted here: the difference is what ZeroMQ holds. A connection that holds more than
/// it may is ended by its descriptor; ZeroMQ sees the end, closes it, and gives the memory back. Used by the socket's thread.
struct ConnectionWatch {
    /// What is known of a peer by others.
    struct Standing {
        var share: PeerShare
        /// Bytes that wait to be sent to it.
        var waiting: Int
    }

    /// A connection to be ended.
    struct Verdict {
        var descriptor: Int32
        var reason: ConnectionTrouble.Reason
    }

    struct Connection {
        let cookie: UInt64
        let since: ContinuousClock.Instant
        var peer: PeerID?
        /// Bytes on the wire of the messages that were read.
        var read = 0
        /// Messages that were read.
        var messages = 0
        var lastRead: ContinuousClock.Instant
        var isEnded = false
        var seen = Seen()

        /// What the last look saw.
        struct Seen {
            var messages = 0
            /// When the held part was found to have grown enough, and how large it was then.
            var growth: (time: ContinuousClock.Instant, bytes: Int)?
            /// When the peer was found to have taken something of what waits for it.
            var taken: (time: ContinuousClock.Instant, bytes: UInt64)?
        }
    }

    private(set) var connections: [Int32: Connection] = [:]
    /// Peers whose connections were found to be gone, until somebody takes note.
    private var vanished: [(peer: PeerID, descriptor: Int32)] = []
    /// Messages that were read of all.
    private var messages = 0
    private var messagesAtLook = 0
    private var nextLook = ContinuousClock.now
    private let options: TransportOptions
    let capacity: Int
    /// Where the server listens; 0 if that is no port of TCP. Set before the first connection.
    var port: UInt16 = 0

    /// Heartbeats of ZeroMQ are bytes that are never read; an old client may send some.
    private static let commandAllowance = 16 << 10
    private static let interval = Duration.milliseconds(500)
    /// While there is something to see.
    private static let shortInterval = Duration.milliseconds(25)

    init(_ options: TransportOptions) {
        self.options = options
        let descriptors = Int(pfc_raise_descriptor_limit())
        capacity = options.connectionCapacity ?? max(16, descriptors - max(64, descriptors / 4))
    }

    // MARK: What happens

    /// A connection was made.
    mutating func accepted(_ descriptor: Int32, _ now: ContinuousClock.Instant = .now) {
        var known = pfc_connection()
        guard descriptor >= 0, pfc_connection_look(descriptor, &known) else { return }
        // Told late: something else of this process has the number by now.
        guard port == 0 || known.port == port else {
            forget(descriptor)
            return
        }
        if connections[descriptor]?.cookie == known.cookie { return }
        forget(descriptor)
        connections[descriptor] = Connection(cookie: known.cookie, since: now, lastRead: now)
        nextLook = min(nextLook, now + Self.shortInterval)
    }

    mutating func closed(_ descriptor: Int32) -> PeerID? {
        // The number may have been given to the next connection before this was told.
        var known = pfc_connection()
        guard let connection = connections[descriptor] else { return nil }
        if pfc_connection_look(descriptor, &known), known.cookie == connection.cookie, !connection.isEnded {
            // Or ZeroMQ is about to close it: the next look tells.
            nextLook = .now
            return nil
        }
        connections[descriptor] = nil
        return connection.peer
    }

    private mutating func forget(_ descriptor: Int32) {
        guard let connection = connections.removeValue(forKey: descriptor), let peer = connection.peer else { return }
        vanished.append((peer, descriptor))
    }

    /// Peers whose connections were found to be gone since this was asked last.
    mutating func takeVanished() -> [(peer: PeerID, descriptor: Int32)] {
        defer { vanished = [] }
        // One that has come back under the same number is there.
        return vanished.filter { connections[$0.descriptor]?.peer != $0.peer }
    }

    /// A message was read. Returns the connection that the peer had before, if that is another one and still there.
    mutating func read(
        _ received: ZMQSocket.Received, of peer: PeerID, before: Int32?, _ now: ContinuousClock.Instant = .now
    ) -> Int32? {
        messages += 1
        let descriptor = received.descriptor
        // A number is used again at once, before anybody has told of the end of the connection that had it.
        let cookie = descriptor >= 0 ? pfc_connection_cookie(descriptor) : 0
        if connections[descriptor]?.cookie != cookie { accepted(descriptor, now) }
        connections[descriptor]?.read += received.wireByteCount
        connections[descriptor]?.messages += 1
        connections[descriptor]?.lastRead = now
        connections[descriptor]?.peer = peer
        guard let before, before != descriptor, connections[before]?.peer == peer else { return nil }
        return before
    }

    /// Ends a connection; whether there was one to end.
    mutating func end(_ descriptor: Int32) -> Bool {
        guard let connection = connections[descriptor], !connection.isEnded else { return false }
        connections[descriptor]?.isEnded = true
        return pfc_connection_end(descriptor, connection.cookie)
    }

    /// Whether the connection of this descriptor is there and was not ended.
    func isOpen(_ descriptor: Int32) -> Bool { connections[descriptor].map { !$0.isEnded } ?? false }

    // MARK: Looking

    /// Whether it is time to look.
    func isDue(_ now: ContinuousClock.Instant) -> Bool { now >= nextLook }

    /// When to look again at the latest; nil while there are no connections.
    var nextDeadline: ContinuousClock.Instant? { connections.isEmpty ? nil : nextLook }

    /// Looks at all connections and says which of them are to be ended.
    ///
    /// - Parameters:
    ///   - isReading: whether messages are read at all now.
    ///   - hasMessage: asked after the connections were looked at: whether a whole message waits.
    ///   - standing: who a peer is.
    mutating func look(
        _ now: ContinuousClock.Instant, isReading: Bool, hasMessage: () -> Bool, standing: (PeerID?) -> Standing
    ) -> [Verdict] {
        var held: [(descriptor: Int32, bytes: Int, known: pfc_connection)] = []
        for (descriptor, connection) in connections {
            var known = pfc_connection()
            guard pfc_connection_look(descriptor, &known), known.cookie == connection.cookie else {
                forget(descriptor)
                continue
            }
            let bytes = known.is_tcp ? Int(known.received) - Int(known.waiting) - connection.read : 0
            if !connection.isEnded { held.append((descriptor, max(0, bytes), known)) }
        }
        // Every connection with a whole message has its turn in a round: who had none holds a part.
        let isDrained = isReading && !hasMessage()
        let hadTurn = isReading && messages - messagesAtLook > 2 * connections.count
        messagesAtLook = messages
        var verdicts: [Verdict] = []
        var parts: [PeerShare: [(descriptor: Int32, bytes: Int)]] = [:]
        var isBusy = false
        for (descriptor, bytes, known) in held {
            guard var connection = connections[descriptor] else { continue }
            let standing = standing(connection.peer)
            let room = options.room(of: standing.share)
            let isPart = isDrained || (hadTurn && connection.messages == connection.seen.messages)
            let reason = judge(&connection, known, bytes, isPart: isPart, standing, room, now)
            connection.seen.messages = connection.messages
            connections[descriptor] = connection
            if let reason { verdicts.append(Verdict(descriptor: descriptor, reason: reason)) }
            if reason == nil, isPart, bytes > Self.commandAllowance {
                parts[standing.share, default: []].append((descriptor, bytes))
            }
            let isNew = standing.share == .stranger && connection.since + .seconds(2) > now
            isBusy = isBusy || isNew || bytes > 256 << 10
        }
        for (share, list) in parts { verdicts += crowd(list, limit: options.room(of: share).incomplete.together) }
        verdicts += surplus(sparing: Set(verdicts.map(\.descriptor)), standing)
        nextLook = now + (isBusy ? Self.shortInterval : Self.interval)
        return verdicts
    }

    private func judge(
        _ connection: inout Connection, _ known: pfc_connection, _ bytes: Int, isPart: Bool, _ standing: Standing,
        _ room: PeerRoom, _ now: ContinuousClock.Instant
    ) -> ConnectionTrouble.Reason? {
        if bytes > room.unread { return .flood }
        if isPart && bytes > room.incomplete.each { return .endless }
        if standing.share == .stranger, now - max(connection.since, connection.lastRead) > room.patience {
            return bytes > Self.commandAllowance ? .slow : .silent
        }
        // What is sent is taken, or not.
        if standing.waiting == 0 || !known.is_tcp || known.unsent == 0 {
            connection.seen.taken = nil
        } else if let taken = connection.seen.taken, taken.bytes == known.acknowledged {
            if now - taken.time > room.patience { return .unread }
        } else {
            connection.seen.taken = (now, known.acknowledged)
        }
        // What has begun goes on.
        let window = room.patience / 2
        guard isPart, bytes > Self.commandAllowance, now - connection.lastRead > window else {
            connection.seen.growth = nil
            return nil
        }
        guard let growth = connection.seen.growth else {
            connection.seen.growth = (now, bytes)
            return nil
        }
        guard now - growth.time > window else { return nil }
        let seconds = (now - growth.time) / Duration.seconds(1)
        let least = Double(options.unfinishedByteRate) * seconds
        connection.seen.growth = (now, bytes)
        return Double(bytes - growth.bytes) < least ? .slow : nil
    }

    /// Those that hold the most, until the others fit.
    private func crowd(_ list: [(descriptor: Int32, bytes: Int)], limit: Int) -> [Verdict] {
        var sum = list.reduce(0) { $0 + $1.bytes }
        var verdicts: [Verdict] = []
        for (descriptor, bytes) in list.sorted(by: { $0.bytes > $1.bytes }) where sum > limit {
            sum -= bytes
            verdicts.append(Verdict(descriptor: descriptor, reason: .crowded))
        }
        return verdicts
    }

    /// Connections beyond what the server may have: strangers first, then operators and readers; of each the oldest.
    private func surplus(sparing: Set<Int32>, _ standing: (PeerID?) -> Standing) -> [Verdict] {
        let open = connections.filter { !$0.value.isEnded && !sparing.contains($0.key) }
        guard open.count > capacity else { return [] }
        return shed(open.count - capacity, standing).map { Verdict(descriptor: $0, reason: .descriptors) }
    }

    /// Connections that can be spared, at most `count`: strangers first, then operators and readers; of each those that were silent for
    /// longest.
    func shed(_ count: Int, _ standing: (PeerID?) -> Standing) -> [Int32] {
        typealias Candidate = (rank: Int, lastRead: ContinuousClock.Instant, descriptor: Int32)
        var candidates: [Candidate] = []
        for (descriptor, connection) in connections where !connection.isEnded {
            let share = standing(connection.peer).share
            if share == .member { continue }
            candidates.append((share == .stranger ? 0 : 1, connection.lastRead, descriptor))
        }
        return candidates.sorted { ($0.rank, $0.lastRead) < ($1.rank, $1.lastRead) }.prefix(count).map(\.descriptor)
    }
}
