internal import CZeroMQ

/// The public half of a key pair: 32 bytes, written as 40 characters of Z85.
public struct PublicKey: Hashable, Sendable, CustomStringConvertible {
    /// The 40 characters.
    public let text: String

    /// The key that a text names; nil if it is none.
    public init?(_ text: String) {
        guard Z85.isKey(text) else { return nil }
        self.text = text
    }

    /// The key of 32 bytes; nil for another number of them.
    init?(bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        var characters = [CChar](repeating: 0, count: 41)
        guard zmq_z85_encode(&characters, bytes, bytes.count) != nil else { return nil }
        text = Z85.text(characters)
    }

    public var description: String { text }
}

/// The secret half of a key pair. It has no description, so that no log or error message can show it by accident.
public struct SecretKey: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The 40 characters of Z85, for key files and sockets alone.
    public let text: String

    /// The key that a text names; nil if it is none.
    public init?(_ text: String) {
        guard Z85.isKey(text) else { return nil }
        self.text = text
    }

    /// The public half, which does not tell the secret one.
    ///
    /// - Throws: `WireError` if ZeroMQ was built without CURVE.
    public func publicKey() throws(WireError) -> PublicKey {
        var characters = [CChar](repeating: 0, count: 41)
        guard zmq_curve_public(&characters, text) == 0, let key = PublicKey(Z85.text(characters)) else {
            throw ZMQSocket.error("cannot compute a public key")
        }
        return key
    }

    public var description: String { "(secret key)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// A key pair of Curve25519.
public struct KeyPair: Sendable {
    public let publicKey: PublicKey
    public let secretKey: SecretKey

    /// The pair of a secret key.
    ///
    /// - Throws: `WireError` if ZeroMQ was built without CURVE.
    public init(secretKey: SecretKey) throws(WireError) {
        self.secretKey = secretKey
        publicKey = try secretKey.publicKey()
    }

    /// Draws a new pair from the system's random numbers.
    ///
    /// - Throws: `WireError` if ZeroMQ was built without CURVE.
    public static func random() throws(WireError) -> KeyPair {
        var publicText = [CChar](repeating: 0, count: 41)
        var secretText = [CChar](repeating: 0, count: 41)
        guard zmq_curve_keypair(&publicText, &secretText) == 0, let secret = SecretKey(Z85.text(secretText)) else {
            throw ZMQSocket.error("cannot make a key pair")
        }
        return try KeyPair(secretKey: secret)
    }
}

/// The notation of keys: RFC 32 of ZeroMQ.
private enum Z85 {
    /// Whether a text is the notation of 32 bytes.
    static func isKey(_ text: String) -> Bool {
        var bytes = [UInt8](repeating: 0, count: 32)
        // ZeroMQ reads characters outside of ASCII beyond its table.
        guard text.utf8.count == 40, text.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else { return false }
        return zmq_z85_decode(&bytes, text) != nil
    }

    static func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
