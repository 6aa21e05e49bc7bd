public import Foundation

/// Sends bytes to a port of the loopback and reads what comes back, as a well or badly behaved HTTP client would.
public struct HTTPClient: Sendable {
    /// What came back.
    public struct Answer: Sendable {
        public var status: Int
        /// By name in lower case.
        public var headers: [String: String]
        public var body: Data
        public var text: String { String(decoding: body, as: UTF8.self) }
    }

    public let port: UInt16

    public init(port: UInt16) { self.port = port }

    /// Asks for a page.
    ///
    /// - Throws: `HarnessError` if there is no answer within `seconds`.
    public func get(_ path: String, seconds: Double = 10) throws -> Answer {
        try answer(to: Data("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8), seconds: seconds)
    }

    /// Sends these bytes and reads until the server ends the connection.
    ///
    /// - Throws: `HarnessError` if what comes back within `seconds` is not an answer.
    public func answer(to bytes: Data, seconds: Double = 10) throws -> Answer {
        let data = try exchange(bytes, seconds: seconds)
        guard let end = data.range(of: Data("\r\n\r\n".utf8)) else {
            throw HarnessError("the answer has no end of its headers: \(String(decoding: data, as: UTF8.self))")
        }
        let lines = String(decoding: data[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ")
        guard words.count > 1, words[0] == "HTTP/1.1", let status = Int(words[1]) else {
            throw HarnessError("the answer begins with \(lines[0])")
        }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { throw HarnessError("a header is \(line)") }
            headers[line[..<colon].lowercased()] = line[line.index(after: colon)...].trimmingCharacters(
                in: .whitespaces)
        }
        let body = Data(data[end.upperBound...])
        if let length = headers["content-length"], length != "\(body.count)", !bytes.starts(with: Data("HEAD".utf8)) {
            throw HarnessError("the body has \(body.count) bytes, its header says \(length)")
        }
        return Answer(status: status, headers: headers, body: body)
    }

    /// A connection that sends `bytes` and then nothing, open until the returned descriptor is closed.
    ///
    /// - Throws: `HarnessError` if nobody listens.
    public func connection(sending bytes: Data = Data()) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else {
            close(descriptor)
            throw HarnessError("nobody listens at port \(port) of 127.0.0.1")
        }
        _ = write(bytes, to: descriptor)
        return descriptor
    }

    private func exchange(_ bytes: Data, seconds: Double) throws -> Data {
        let descriptor = try connection()
        defer { close(descriptor) }
        var limit = timeval(tv_sec: Int(seconds), tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        // A server that has had enough stops reading: what it says then is still to be read.
        _ = write(bytes, to: descriptor)
        var data = Data()
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count == 0 { return data }
            guard count > 0 else {
                if !data.isEmpty { return data }
                throw HarnessError("no answer from port \(port): \(String(cString: strerror(errno)))")
            }
            data += buffer[..<count]
        }
    }

    private func write(_ bytes: Data, to descriptor: Int32) -> Bool {
        bytes.withUnsafeBytes { buffer in
            var sent = 0
            while sent < buffer.count {
                let count = send(
                    descriptor, buffer.baseAddress.map { $0 + sent }, buffer.count - sent, Int32(MSG_NOSIGNAL))
                guard count > 0 else { return false }
                sent += count
            }
            return true
        }
    }
}
