import Synchronization

/// The bytes that wait for one peer, from the moment they are queued until ZeroMQ has sent them.
final class SendAccount: Sendable {
    /// What a message costs beyond its frames, so that a bound on bytes bounds their number too.
    static let messageOverhead = 256

    /// What may wait for a peer before its handshake, where only refusals are sent.
    static let strangerCapacity = 1 << 20

    private let used = Atomic(0)

    /// Reserves room for a message; nil when there is none. A message always fits when nothing else waits.
    func charge(_ message: EncodedMessage, capacity: Int) -> SendCharge? {
        let byteCount = message.byteCount + SendAccount.messageOverhead
        let (before, _) = used.add(byteCount, ordering: .relaxed)
        guard before == 0 || before + byteCount <= capacity else {
            used.subtract(byteCount, ordering: .relaxed)
            return nil
        }
        return SendCharge(account: self, byteCount: byteCount)
    }

    fileprivate func release(_ byteCount: Int) { used.subtract(byteCount, ordering: .relaxed) }

    /// Bytes that wait now.
    var byteCount: Int { used.load(ordering: .relaxed) }
}

/// Room that a message takes; given back when the last frame is gone.
final class SendCharge: Sendable {
    private let account: SendAccount
    private let byteCount: Int

    fileprivate init(account: SendAccount, byteCount: Int) {
        self.account = account
        self.byteCount = byteCount
    }

    deinit { account.release(byteCount) }
}

/// A message in a send queue.
struct OutgoingMessage: Sendable {
    let encoded: EncodedMessage
    let charge: SendCharge
}

/// What became of a message that was handed in to be sent.
public enum SendResult: Sendable, Equatable {
    /// It will be sent under this request number, unless the connection breaks.
    case queued(request: UInt64)
    /// There is no handshake with the peer (any more). Nothing was sent.
    case notWelcomed
    /// Too much waits for the peer already. Nothing was sent.
    case full
    /// The endpoint is closed.
    case closed
    /// A field is outside of what a receiver accepts: a mistake of the caller's.
    case unencodable(WireError)
}
