import Foundation

/// Passes bytes on between clients and a server, and keeps what went by.
final class WireTap: @unchecked Sendable {
    /// Where clients connect to.
    let endpoint: String
    private let listener: Int32
    private let target: UInt16
    private let lock = NSLock()
    private var bytes = Data()

    init(_ target: String) throws {
        self.target = target.split(separator: ":").last.flatMap { UInt16($0) } ?? 0
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.listener = listener
        var address = Self.loopback(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutableBytes(of: &address) { raw in
            guard let base = raw.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return }
            bind(listener, base, size)
            getsockname(listener, base, &size)
        }
        listen(listener, 8)
        endpoint = "tcp://127.0.0.1:\(UInt16(bigEndian: address.sin_port))"
        Thread.start { [self] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                let server = connection()
                for (from, to) in [(client, server), (server, client)] {
                    Thread.start { [self] in pass(from, to) }
                }
            }
        }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }

    private func connection() -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(target)
        _ = withUnsafeBytes(of: &address) { raw in
            raw.baseAddress.map {
                connect(descriptor, $0.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count))
            }
        }
        return descriptor
    }

    private func pass(_ from: Int32, _ to: Int32) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(from, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            lock.withLock { bytes += buffer[..<count] }
            guard send(to, buffer, count, Int32(MSG_NOSIGNAL)) == count else { break }
        }
        shutdown(from, Int32(SHUT_RDWR))
        shutdown(to, Int32(SHUT_RDWR))
    }

    /// Whether a text went by.
    func saw(_ text: String) -> Bool { lock.withLock { bytes.range(of: Data(text.utf8)) != nil } }

    func close() { shutdown(listener, Int32(SHUT_RDWR)) }
}
