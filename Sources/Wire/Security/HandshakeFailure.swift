/// A connection that was not made because keys do not fit, as the client sees it.
public struct HandshakeFailure: Sendable, Equatable {
    /// Why a peer is not let in.
    public enum Reason: String, Sendable, Hashable, CaseIterable {
        /// It shows a key that is not accepted.
        case key = "unknown_key"
        /// It held an accepted key when it came, which was revoked since.
        case revoked
        /// It has no keys where they are needed, or the other way round, or encrypts what is not to be, or the other way round.
        case mechanism
        /// What it sends is encrypted for another server.
        case serverKey = "server_key"
        /// It does not speak ZeroMQ's protocol.
        case `protocol`
        /// It ended the connection during the handshake. Of a peer that does not agree either side may be the first to see it.
        case broken = "broken_off"
    }

    public var endpoint: String
    public var reason: Reason
    /// What is wrong and what to do.
    public var message: String

    init(_ reason: Reason, at endpoint: String, with security: ClientSecurity) {
        self.endpoint = endpoint
        self.reason = reason
        message =
            switch security {
            case .none where reason == .broken:
                "\(endpoint) ends connections before the first message: most likely it lets only peers with keys in, and this process has none (--keys or PARTIALFC_KEYS); or nobody is there behind a proxy"
            case .none:
                "\(endpoint) does not let this process in, which has no keys: name the directory of its keys with --keys or PARTIALFC_KEYS"
            case .encrypted(let own, let server):
                switch reason {
                case .key, .revoked: Self.notAccepted(own.publicKey, at: endpoint)
                case .mechanism:
                    "\(endpoint) does not use CURVE, this process does: it was started without --keys, or with another --encrypt than this process"
                case .serverKey, .protocol, .broken:
                    "\(endpoint) does not prove to hold the key \(server) that this process's keys name: it has the keys of another cluster or none, or it was started with another --encrypt than this process, or nobody is there behind a proxy"
                }
            case .shown(let key, _):
                switch reason {
                case .key, .revoked: Self.notAccepted(key, at: endpoint)
                case .mechanism, .serverKey, .protocol, .broken:
                    "\(endpoint) wants to encrypt or has no keys, and this process does not encrypt bulk traffic: start all with the same --encrypt and with keys of the same cluster"
                }
            }
    }

    private static func notAccepted(_ key: PublicKey, at endpoint: String) -> String {
        "\(endpoint) does not accept the key \(key) of this process: it was revoked, or the server has not got the newest accepted-keys; `coordinator keys list` shows those of a key set"
    }

    /// Whether ZeroMQ gives the connection up for good, so that it must be asked to connect again.
    var isFinal: Bool { reason != .broken }
}
