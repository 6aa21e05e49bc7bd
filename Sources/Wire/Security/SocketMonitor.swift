internal import CZeroMQ
import Glibc
import Tensors

/// What ZeroMQ tells of the connections of a socket.
final class SocketMonitor: @unchecked Sendable {
    enum Event {
        /// A peer has connected; the descriptor of the connection.
        case accepted(Int32)
        case succeeded
        case failed(HandshakeFailure.Reason)
        case disconnected(Int32)
        /// A connection could not be accepted; the error.
        case acceptFailed(Int32)
    }

    /// The end that is read.
    let socket: ZMQSocket
    private let observed: ZMQSocket
    private static let count = Monitor(0)

    /// Begins to observe a socket, before it binds or connects.
    init(of observed: ZMQSocket, context: ZMQContext) throws(WireError) {
        self.observed = observed
        let number = Self.count.withLock { count in
            count += 1
            return count
        }
        let endpoint = "inproc://monitor-\(number)"
        let events =
            ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_ACCEPT_FAILED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED
            | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
            | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
        guard zmq_socket_monitor(observed.handle, endpoint, events) == 0 else {
            throw ZMQSocket.error("cannot observe a socket")
        }
        do throws(WireError) {
            socket = try ZMQSocket(ZMQ_PAIR, context: context, options: TransportOptions())
            // Without a bound: ZeroMQ's own thread would wait for room, with a lock that closing the socket needs.
            try socket.set(ZMQ_RCVHWM, Int32(0))
            try socket.connectUnchecked(endpoint)
        } catch {
            zmq_socket_monitor(observed.handle, nil, 0)
            throw error
        }
    }

    /// The next event, or nil when there is none now.
    func next() -> Event? {
        while let frames = socket.receive(limit: 2)?.frames {
            // A number of 16 bits and a value of 32, unaligned; then the endpoint.
            guard let frame = frames.first, frame.byteCount == 6 else { continue }
            let (kind, value) = frame.withBytes {
                (Int32($0.loadUnaligned(as: UInt16.self)), $0.loadUnaligned(fromByteOffset: 2, as: Int32.self))
            }
            switch kind {
            case ZMQ_EVENT_ACCEPTED: return .accepted(value)
            case ZMQ_EVENT_DISCONNECTED: return .disconnected(value)
            case ZMQ_EVENT_ACCEPT_FAILED: return .acceptFailed(value)
            case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: return .succeeded
            case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return .failed(.key)
            case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL: return .failed(.broken)
            case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
                switch value {
                case ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: return .failed(.mechanism)
                case ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: return .failed(.serverKey)
                default: return .failed(.protocol)
                }
            default: continue
            }
        }
        return nil
    }

    /// Ends it, before the observed socket is closed.
    func close() {
        // In this order: ZeroMQ would wait for ever for a reader that is gone.
        if !observed.isClosed, !socket.isClosed { zmq_socket_monitor(observed.handle, nil, 0) }
        socket.close()
    }

    deinit { close() }

    /// The address of the other end of a connection; nil if it is gone already.
    static func address(of descriptor: Int32) -> String? {
        var address = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutableBytes(of: &address) { bytes in
            guard let base = bytes.baseAddress else { return nil }
            let generic = base.assumingMemoryBound(to: sockaddr.self)
            guard getpeername(descriptor, generic, &size) == 0 else { return nil }
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard getnameinfo(generic, size, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0 else {
                return nil
            }
            let name = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            return name.isEmpty ? nil : String(decoding: name, as: UTF8.self)
        }
    }
}
