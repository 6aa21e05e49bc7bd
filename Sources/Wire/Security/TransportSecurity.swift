internal import CZeroMQ

/// Whom a server lets in, and whether what it sends and gets is encrypted.
public enum ServerSecurity: Sendable {
    /// Everyone, in the clear.
    case none
    /// CURVE: peers prove that they hold an accepted key, and everything is encrypted. The secret key is the server's.
    case encrypted(SecretKey, AcceptedKeys)
    /// PLAIN: peers show the bulk secret of an accepted key, which whoever reads the wire can read too. Nothing is encrypted.
    case shown(AcceptedKeys)

    /// The keys that it accepts; nil if it asks for none.
    var accepted: AcceptedKeys? {
        switch self {
        case .none: nil
        case .encrypted(_, let accepted), .shown(let accepted): accepted
        }
    }
}

/// How a client proves who it is.
public enum ClientSecurity: Sendable {
    /// It does not, and nothing is encrypted.
    case none
    /// CURVE: with its own pair, to the server of this public key alone.
    case encrypted(KeyPair, server: PublicKey)
    /// PLAIN: it shows the bulk secret that goes with its public key. Nothing is encrypted.
    case shown(PublicKey, bulkSecret: SecretKey)
}

/// How a process of a cluster secures its sockets.
public struct ClusterSecurity: Sendable {
    /// As a server.
    public var server: ServerSecurity
    /// As a client of the coordinator.
    public var coordinator: ClientSecurity
    /// As a client of shards.
    public var shards: ClientSecurity

    public init(server: ServerSecurity, coordinator: ClientSecurity, shards: ClientSecurity) {
        self.server = server
        self.coordinator = coordinator
        self.shards = shards
    }

    /// No keys: whoever reaches a socket is let in.
    public static let none = ClusterSecurity(server: .none, coordinator: .none, shards: .none)
}

extension ZMQSocket {
    /// Before it binds. `domain` names the server to the handler of `ZAPHandler`.
    func secure(_ security: ServerSecurity, domain: String) throws(WireError) {
        switch security {
        case .none: return
        case .encrypted(let secret, _):
            try set(ZMQ_CURVE_SERVER, Int32(1))
            try set(ZMQ_CURVE_SECRETKEY, bytes: Array(secret.text.utf8) + [0])
        case .shown: try set(ZMQ_PLAIN_SERVER, Int32(1))
        }
        try set(ZMQ_ZAP_DOMAIN, bytes: Array(domain.utf8))
        readsUser = true
        if case .encrypted = security { isEncrypted = true }
    }

    /// Before it connects.
    func secure(_ security: ClientSecurity) throws(WireError) {
        switch security {
        case .none: return
        case .encrypted(let own, let server):
            try set(ZMQ_CURVE_SERVERKEY, bytes: Array(server.text.utf8) + [0])
            try set(ZMQ_CURVE_PUBLICKEY, bytes: Array(own.publicKey.text.utf8) + [0])
            try set(ZMQ_CURVE_SECRETKEY, bytes: Array(own.secretKey.text.utf8) + [0])
        case .shown(let key, let secret):
            try set(ZMQ_PLAIN_USERNAME, bytes: Array(key.text.utf8))
            try set(ZMQ_PLAIN_PASSWORD, bytes: Array(secret.text.utf8))
        }
    }
}
