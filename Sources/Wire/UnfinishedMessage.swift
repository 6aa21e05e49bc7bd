internal import CKernels
internal import Cluster
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
