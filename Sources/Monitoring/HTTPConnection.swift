internal import Foundation

/// One connection: reads a request, writes the answer, ends. Used on the server's thread only.
struct HTTPConnection {
    enum Phase {
        case reading
        case writing
        /// The answer is sent. What the client still sends is thrown away: closed at once it might not get the answer.
        case ending
        case over
    }

    let socket: Int32
    private(set) var phase = Phase.reading
    /// When the client's patience counts as ours.
    private(set) var deadline: ContinuousClock.Instant
    private var input: [UInt8] = []
    private var output: [UInt8] = []
    private var sent = 0

    /// How long a request, an answer and a goodbye may take.
    static let readLimit = Duration.seconds(10)
    static let writeLimit = Duration.seconds(30)
    static let endLimit = Duration.seconds(1)

    init(socket: Int32) {
        self.socket = socket
        deadline = .now + Self.readLimit
    }

    /// What to wait for.
    var events: Int16 { phase == .writing ? Int16(POLLOUT) : Int16(POLLIN) }

    /// Goes on as far as it can without waiting.
    ///
    /// - Parameter answer: called with the request, or why there is none, once.
    mutating func advance(_ answer: (Result<HTTPRequest, HTTPRefusal>) -> (HTTPResponse, isHead: Bool)) {
        switch phase {
        case .reading: read(answer)
        case .writing: write()
        case .ending: discard()
        case .over: break
        }
    }

    /// What happens when the deadline has passed.
    mutating func expire(_ answer: (Result<HTTPRequest, HTTPRefusal>) -> (HTTPResponse, isHead: Bool)) {
        guard case .reading = phase, !input.isEmpty else {
            phase = .over
            return
        }
        let seconds = Self.readLimit / .seconds(1)
        begin(answer(.failure(HTTPRefusal(.requestTimeout, "the request was not complete after \(seconds) s"))))
    }

    private mutating func read(_ answer: (Result<HTTPRequest, HTTPRefusal>) -> (HTTPResponse, isHead: Bool)) {
        var buffer = [UInt8](repeating: 0, count: HTTPRequest.headLimit)
        let count = recv(socket, &buffer, buffer.count, 0)
        guard count > 0 else {
            if count == 0 || !Self.isPassing(errno) { phase = .over }
            return
        }
        input += buffer[..<count]
        if let request = HTTPRequest.parse(input) { begin(answer(request)) }
    }

    private mutating func begin(_ answer: (response: HTTPResponse, isHead: Bool)) {
        output = answer.response.encoded(isHead: answer.isHead)
        input = []
        phase = .writing
        deadline = .now + Self.writeLimit
        write()
    }

    private mutating func write() {
        while sent < output.count {
            let count = output.withUnsafeBytes { bytes in
                send(socket, bytes.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else {
                if !Self.isPassing(errno) { phase = .over }
                return
            }
            sent += count
        }
        output = []
        phase = .ending
        deadline = .now + Self.endLimit
        shutdown(socket, Int32(SHUT_WR))
    }

    private mutating func discard() {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(socket, &buffer, buffer.count, 0)
        if count == 0 || count < 0 && !Self.isPassing(errno) { phase = .over }
    }

    private static func isPassing(_ code: Int32) -> Bool { code == EAGAIN || code == EWOULDBLOCK || code == EINTR }
}
