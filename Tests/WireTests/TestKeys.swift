import CZeroMQ
import Foundation
import Wire

/// The keys of a little cluster, in memory.
final class TestKeys: @unchecked Sendable {
    let server: KeyPair
    private let lock = NSLock()
    private var accepted: [AcceptedKey] = []
    private var isNew = true
    private var problem: String?

    /// A holder: its key, and what it shows where nothing is encrypted.
    struct Holder: Sendable {
        var key: AcceptedKey
        var own: KeyPair
        var bulk: KeyPair
    }

    struct Unreadable: Error, CustomStringConvertible { var description: String }

    init() throws { server = try .random() }

    /// Makes a holder that is not accepted yet.
    func holder(_ role: KeyRole, _ name: String? = nil) throws -> Holder {
        let (own, bulk) = (try KeyPair.random(), try KeyPair.random())
        let key = AcceptedKey(role: role, name: name ?? role.rawValue, key: own.publicKey, bulkKey: bulk.publicKey)
        return Holder(key: key, own: own, bulk: bulk)
    }

    /// Makes a holder that is accepted.
    func accepted(_ role: KeyRole) throws -> Holder {
        let holder = try holder(role)
        accept(holder)
        return holder
    }

    func accept(_ holder: Holder) { change { $0.append(holder.key) } }

    func revoke(_ holder: Holder) { change { $0.removeAll { $0.key == holder.key.key } } }

    /// Makes the list unreadable for a reason, or readable again.
    func damage(_ problem: String?) { lock.withLock { self.problem = problem } }

    private func change(_ body: (inout [AcceptedKey]) -> Void) {
        lock.withLock {
            body(&accepted)
            isNew = true
        }
    }

    private func read() throws -> [AcceptedKey]? {
        try lock.withLock {
            if let problem { throw Unreadable(description: problem) }
            defer { isNew = false }
            return isNew ? accepted : nil
        }
    }

    func encrypted() throws -> ServerSecurity { .encrypted(server.secretKey, try AcceptedKeys { try self.read() }) }
    func shown() throws -> ServerSecurity { .shown(try AcceptedKeys { try self.read() }) }

    func client(_ holder: Holder) -> ClientSecurity { .encrypted(holder.own, server: server.publicKey) }

    static func shown(_ holder: Holder) -> ClientSecurity {
        .shown(holder.own.publicKey, bulkSecret: holder.bulk.secretKey)
    }
}

extension RawPeer {
    /// A peer with a key that sends what it is told to.
    convenience init(_ endpoint: String, _ keys: TestKeys, _ holder: TestKeys.Holder, routingID: String) {
        self.init(endpoint) { socket in
            zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, keys.server.publicKey.text, 41)
            zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, holder.own.publicKey.text, 41)
            zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, holder.own.secretKey.text, 41)
            zmq_setsockopt(socket, ZMQ_ROUTING_ID, routingID, routingID.utf8.count)
        }
    }
}
