internal import Foundation

/// Asks a process for one of its pages, as a health check does.
public struct HTTPProbe: Sendable {
    /// What came back.
    public struct Answer: Sendable {
        public var status: Int
        public var text: String
    }

    /// The most that is read of an answer.
    static let answerLimit = 1 << 20

    public let address: HTTPAddress
    private let deadline: ContinuousClock.Instant

    /// - Parameters:
    ///   - address: where the process serves HTTP. A process that listens at every address is asked at the loopback.
    ///   - limit: how long everything may take.
    public init(_ address: HTTPAddress, limit: Duration) {
        self.address = address.fromThisMachine
        deadline = .now + limit
    }

    /// Asks for a page.
    ///
    /// - Throws: `HTTPProbeError` if nobody answers in time, or what comes back is not HTTP.
    public func get(_ path: String) throws(HTTPProbeError) -> Answer {
        let socket = try connection()
        defer { close(socket) }
        let request = Array("GET \(path) HTTP/1.1\r\nHost: \(address)\r\nConnection: close\r\n\r\n".utf8)
        guard send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { throw failure(errno) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while bytes.count < Self.answerLimit {
            try limit(socket)
            let count = recv(socket, &buffer, buffer.count, 0)
            if count == 0 { break }
            guard count > 0 else { throw failure(errno) }
            bytes += buffer[..<count]
        }
        return try answer(String(decoding: bytes, as: UTF8.self))
    }

    private func connection() throws(HTTPProbeError) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(address.host, "\(address.port)", &hints, &found)
        guard code == 0 else { throw HTTPProbeError(address, String(cString: gai_strerror(code))) }
        defer { freeaddrinfo(found) }
        var problem: Int32 = 0
        var next = found
        while let candidate = next?.pointee {
            next = candidate.ai_next
            let socket = Glibc.socket(candidate.ai_family, candidate.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard socket >= 0 else { throw failure(errno) }
            do { try limit(socket) } catch {
                close(socket)
                throw error
            }
            if connect(socket, candidate.ai_addr, candidate.ai_addrlen) == 0 { return socket }
            problem = errno
            close(socket)
        }
        throw failure(problem)
    }

    /// Makes the next call on a socket wait for no longer than there is time.
    private func limit(_ socket: Int32) throws(HTTPProbeError) {
        let left = deadline - .now
        guard left > .zero else { throw failure(EAGAIN) }
        let (seconds, rest) = left.components
        var limit = timeval(tv_sec: Int(seconds), tv_usec: max(1, Int(rest / 1_000_000_000_000)))
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(socket, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    private func answer(_ text: String) throws(HTTPProbeError) -> Answer {
        let parts = text.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
        let words = parts[0].prefix { $0 != "\r\n" }.split(separator: " ")
        guard parts.count == 2, words.count > 1, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
            throw HTTPProbeError(address, "the answer is not HTTP")
        }
        return Answer(status: status, text: String(parts[1]))
    }

    private func failure(_ code: Int32) -> HTTPProbeError {
        let isLate = code == EAGAIN || code == EWOULDBLOCK || code == EINPROGRESS
        return HTTPProbeError(address, isLate ? "no answer in time" : String(cString: strerror(code)))
    }
}

/// Why a process was asked in vain.
public struct HTTPProbeError: Error, CustomStringConvertible {
    public var address: HTTPAddress
    public var problem: String

    init(_ address: HTTPAddress, _ problem: String) {
        self.address = address
        self.problem = problem
    }

    public var description: String { "http://\(address)/: \(problem)" }
}
