internal import CKernels
import StepProtocol
import Tensors

/// A large message of which fragments are still to come.
///
/// It was decoded when it was announced; its large tensors are memory of ours that the fragments fill, in order.
struct UnfinishedMessage {
    let request: UInt64
    let series: UInt64
    let message: WireMessage
    /// The large tensors, in the order of their bytes in the series.
    let pieces: [TensorStorage]
    /// Bytes of the whole series.
    let byteCount: Int
    private var offset = 0
    /// How many bytes were there when that was last told.
    private var toldByteCount = 0
    private var piece = 0
    private var pieceOffset = 0

    /// - Parameter pieces: at least one, none of them empty.
    init(request: UInt64, series: UInt64, message: WireMessage, pieces: [TensorStorage]) {
        self.request = request
        self.series = series
        self.message = message
        self.pieces = pieces
        byteCount = pieces.reduce(0) { $0 + $1.byteCount }
    }

    /// Bytes of the series that are there.
    var receivedByteCount: Int { offset }

    /// Whether `byteCount` more bytes are there than when this was last true.
    mutating func hasArrived(_ byteCount: Int) -> Bool {
        guard offset - toldByteCount >= byteCount else { return false }
        toldByteCount = offset
        return true
    }

    /// Why it is given up when its peer begins another message.
    var interruption: Refusal {
        Refusal(
            .malformed,
            "\(message.name) was announced with \(byteCount) bytes in fragments, but another message came after \(offset) of them"
        )
    }

    /// Copies the next bytes to their place.
    ///
    /// - Returns: whether they were the last ones.
    /// - Throws: `WireError` if they are not the next ones, or do not fit.
    mutating func add(_ fragment: Fragment) throws(WireError) -> Bool {
        let count = fragment.bytes.byteCount
        guard fragment.series == series, fragment.offset == offset else {
            throw WireError(
                .field,
                "a fragment of series \(fragment.series) at byte \(fragment.offset); expected was series \(series) at byte \(offset)",
                request: request)
        }
        guard piece < pieces.count, count <= pieces[piece].byteCount - pieceOffset else {
            throw WireError(
                .frameSize, "a fragment of \(count) bytes at byte \(offset) goes beyond the end of its tensor",
                request: request)
        }
        // Read when much more of the message is there: by then it would have left the caches.
        pfc_copy_past_caches(pieces[piece].base + pieceOffset, fragment.bytes.base, count)
        offset += count
        pieceOffset += count
        if pieceOffset == pieces[piece].byteCount {
            piece += 1
            pieceOffset = 0
        }
        return piece == pieces.count
    }
}

/// The unfinished messages of an endpoint, one per peer at most. Used by the socket's thread.
struct UnfinishedMessages {
    private struct Entry {
        var message: UnfinishedMessage
        var lastHeard: ContinuousClock.Instant
    }

    private let byteCapacity: Int
    private let deadline: Duration
    private var entries: [PeerID: Entry] = [:]
    /// Bytes that they will have when they are finished.
    private(set) var byteCount = 0

    init(_ options: TransportOptions) {
        byteCapacity = options.unfinishedByteCapacity
        deadline = options.unfinishedDeadline
    }

    /// Takes an announcement.
    ///
    /// - Throws: `WireError` if there is no room for more.
    mutating func begin(_ message: UnfinishedMessage, of peer: PeerID) throws(WireError) {
        // A message on its own is bounded by its own limit.
        guard entries.isEmpty || byteCount + message.byteCount <= byteCapacity else {
            throw WireError(
                .tooLarge,
                "unfinished messages of \(byteCount) bytes wait for their fragments, \(message.byteCount) more exceed \(byteCapacity): send it again later",
                request: message.request)
        }
        drop(peer)
        entries[peer] = Entry(message: message, lastHeard: .now)
        byteCount += message.byteCount
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
        entries[peer] = nil
        byteCount -= entry.message.byteCount
        if try entry.message.add(fragment) { return entry.message }
        entry.lastHeard = .now
        entries[peer] = entry
        byteCount += entry.message.byteCount
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
        byteCount -= entry.message.byteCount
        return entry.message
    }

    /// Gives up those whose fragments have stopped coming.
    ///
    /// - Parameter isReading: whether messages are taken at all now: what waits in TCP has not stopped coming.
    /// - Returns: how many, and when to look again.
    mutating func dropOverdue(
        _ now: ContinuousClock.Instant, isReading: Bool
    ) -> (count: Int, next: ContinuousClock.Instant?) {
        guard !entries.isEmpty else { return (0, nil) }
        guard isReading else {
            for peer in entries.keys { entries[peer]?.lastHeard = now }
            return (0, now + deadline / 2)
        }
        let overdue = entries.filter { $0.value.lastHeard + deadline <= now }
        for peer in overdue.keys { drop(peer) }
        return (overdue.count, entries.values.map { $0.lastHeard + deadline }.min())
    }

    mutating func dropAll() {
        entries = [:]
        byteCount = 0
    }
}
