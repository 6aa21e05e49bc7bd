internal import Glibc

/// A TCP connection that speaks ZMTP 3 by hand, without keys: for what no library would send.
public final class RawConnection {
    public let descriptor: Int32

    /// Connects, and shakes hands unless told not to.
    ///
    /// - Parameters:
    ///   - endpoint: `tcp://127.0.0.1:PORT`.
    ///   - greets: whether it sends its greeting and becomes a DEALER; else nothing is sent.
    /// - Throws: `HarnessError` if there is no connection, or another answer than that of a ROUTER.
    public init(_ endpoint: String, greets: Bool = true, identity: [UInt8] = []) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw HarnessError("no socket: \(String(cString: strerror(errno)))") }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = (endpoint.split(separator: ":").last.flatMap { UInt16($0) } ?? 0).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafeBytes(of: &address) { raw in
            raw.baseAddress.map {
                connect(descriptor, $0.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count))
            } ?? -1
        }
        guard result == 0 else { throw HarnessError("\(endpoint): \(String(cString: strerror(errno)))") }
        guard greets else { return }
        send([0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 3, 0] + Array("NULL".utf8) + [UInt8](repeating: 0, count: 48))
        guard receive(64) != nil else { throw HarnessError("\(endpoint) does not greet") }
        let body =
            [5] + Array("READY".utf8) + Self.property("Socket-Type", Array("DEALER".utf8))
            + Self.property("Identity", identity)
        send([4, UInt8(body.count)] + body)
        guard let head = receive(2), receive(Int(head[1])) != nil else {
            throw HarnessError("\(endpoint) is not ready")
        }
    }

    deinit { end() }

    private static func property(_ name: String, _ value: [UInt8]) -> [UInt8] {
        [UInt8(name.utf8.count)] + Array(name.utf8) + Self.bytes(UInt32(value.count)) + value
    }

    private static func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    /// What a frame is on the wire.
    public static func frame(_ body: [UInt8], more: Bool = false) -> [UInt8] {
        let flag: UInt8 = more ? 1 : 0
        if body.count < 256 { return [flag, UInt8(body.count)] + body }
        return [flag | 2] + bytes(UInt64(body.count)) + body
    }

    /// What a ZMTP PING command is on the wire.
    public static let ping: [UInt8] = [4, 7, 4] + Array("PING".utf8) + [0, 0]

    /// Sends as much as goes; waits 20 seconds at most.
    ///
    /// - Returns: whether everything went.
    @discardableResult
    public func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    /// Sends what goes without waiting; the number of bytes, -1 when the connection is gone.
    public func sendNow(_ bytes: ArraySlice<UInt8>) -> Int {
        let count = bytes.withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        }
        return count < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : count
    }

    /// The next bytes; nil if the connection ends before, or nothing comes for 20 seconds.
    public func receive(_ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var received = 0
        while received < count {
            let more = bytes.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress?.advanced(by: received), count - received, 0)
            }
            if more < 0 && errno == EINTR { continue }
            guard more > 0 else { return nil }
            received += more
        }
        return bytes
    }

    /// The next frame; nil if the connection ends before, or nothing comes for 20 seconds.
    public func receiveFrame() -> (flags: UInt8, body: [UInt8])? {
        guard let head = receive(2) else { return nil }
        guard head[0] & 2 != 0 else { return receive(Int(head[1])).map { (head[0], $0) } }
        guard let rest = receive(7) else { return nil }
        let count = ([head[1]] + rest).reduce(0) { $0 << 8 | Int($1) }
        return receive(count).map { (head[0], $0) }
    }

    /// After how many seconds of silence nothing is received.
    public func setPatience(seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// Whether the other side has ended the connection.
    public var isEnded: Bool {
        // POLLRDHUP: also while something waits to be read.
        var polled = pollfd(fd: descriptor, events: 0x2000, revents: 0)
        return poll(&polled, 1, 0) > 0
    }

    private var isClosed = false

    /// Ends the connection; with what was not read waiting, that is a reset.
    public func end() {
        if !isClosed { Glibc.close(descriptor) }
        isClosed = true
    }
}
