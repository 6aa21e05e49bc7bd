internal import Foundation

/// A TCP socket that listens without waiting, and a descriptor that wakes whoever polls it.
struct ListeningSocket: Sendable {
    let socket: Int32
    /// Can be read once `wake` was called.
    let wakeup: Int32
    private let waker: Int32
    let port: UInt16

    init(_ address: HTTPAddress) throws(HTTPServerError) {
        socket = try Self.listen(address)
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            let code = errno
            Glibc.close(socket)
            throw HTTPServerError(address, code: code)
        }
        (wakeup, waker) = (ends[0], ends[1])
        for end in ends { Self.neverWait(end) }
        port = Self.port(of: socket)
    }

    private static func listen(_ address: HTTPAddress) throws(HTTPServerError) -> Int32 {
        guard address.host == nil else { return try listen(address, at: address.host) }
        // Both families, where the system has both.
        do { return try listen(address, at: "::") } catch  where !error.isTaken {
            return try listen(address, at: "0.0.0.0")
        }
    }

    private static func listen(_ address: HTTPAddress, at host: String?) throws(HTTPServerError) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, "\(address.port)", &hints, &found)
        guard code == 0, let first = found else {
            throw HTTPServerError(address, String(cString: gai_strerror(code)))
        }
        defer { freeaddrinfo(found) }
        let flags = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let socket = Glibc.socket(first.pointee.ai_family, flags, 0)
        guard socket >= 0 else { throw HTTPServerError(address, code: errno) }
        var (one, zero): (Int32, Int32) = (1, 0)
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        // Whatever the system's default is, [::] takes connections of IPv4 as well.
        setsockopt(socket, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &zero, socklen_t(MemoryLayout<Int32>.size))
        guard bind(socket, first.pointee.ai_addr, first.pointee.ai_addrlen) == 0, Glibc.listen(socket, 64) == 0 else {
            let code = errno
            Glibc.close(socket)
            throw HTTPServerError(address, code: code)
        }
        return socket
    }

    private static func port(of socket: Int32) -> UInt16 {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutableBytes(of: &storage) { bytes in
            guard let base = bytes.baseAddress else { return 0 }
            getsockname(socket, base.assumingMemoryBound(to: sockaddr.self), &length)
            // In IPv4 and IPv6 alike the port is behind the family, most significant byte first.
            return UInt16(bytes[2]) << 8 | UInt16(bytes[3])
        }
    }

    /// A connection that waits to be taken, -1 with `errno` if there is none.
    func accept() -> Int32 {
        let connection = Glibc.accept(socket, nil, nil)
        if connection >= 0 { Self.neverWait(connection) }
        return connection
    }

    func wake() {
        var byte: UInt8 = 1
        _ = write(waker, &byte, 1)
    }

    private static func neverWait(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }

    func close() {
        Glibc.close(socket)
        Glibc.close(wakeup)
        Glibc.close(waker)
    }
}
