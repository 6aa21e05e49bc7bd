import Synchronization

/// The bytes that wait for one peer, or for all peers of a kind, from the moment they are queued until ZeroMQ has sent them.
final class SendAccount: Sendable {
    /// What a message costs beyond its frames, so that a bound on bytes bounds their number too.
    static let messageOverhead = 256

    /// What may wait for a peer before its handshake, where only refusals are sent.
    static let strangerCapacity = 1 << 20

    private let used = Atomic(0)

    /// Reserves room for a message; nil when there is none. A message always fits when nothing else waits.
    ///
    /// - Parameters:
    ///   - capacity: for this peer.
    ///   - common: what its kind has together, and how much that may be.
    func charge(
        _ message: EncodedMessage, capacity: Int, common: (account: SendAccount, capacity: Int)? = nil
    ) -> SendCharge? {
        let byteCount = message.byteCount + SendAccount.messageOverhead
        guard reserve(byteCount, capacity) else { return nil }
        if let common, !common.account.reserve(byteCount, common.capacity) {
            release(byteCount)
            return nil
        }
        return SendCharge(accounts: [self] + (common.map { [$0.account] } ?? []), byteCount: byteCount)
    }

    private func reserve(_ byteCount: Int, _ capacity: Int) -> Bool {
        let (before, _) = used.add(byteCount, ordering: .relaxed)
        if before == 0 || before + byteCount <= capacity { return true }
        used.subtract(byteCount, ordering: .relaxed)
        return false
    }

    fileprivate func release(_ byteCount: Int) { used.subtract(byteCount, ordering: .relaxed) }

    /// Bytes that wait now.
    var byteCount: Int { used.load(ordering: .relaxed) }
}

/// Room that a message takes; given back when the last frame is gone.
final class SendCharge: Sendable {
    private let accounts: [SendAccount]
    private let byteCount: Int

    fileprivate init(accounts: [SendAccount], byteCount: Int) {
        self.accounts = accounts
        self.byteCount = byteCount
    }

    deinit { for account in accounts { account.release(byteCount) } }
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
