public import NetworkAddress

/// Where a process serves HTTP: `127.0.0.1:7480`, `[::1]:7480`, `*:7480` for every address; port 0 lets the system choose.
public struct HTTPAddress: Sendable, Equatable, CustomStringConvertible {
    /// A name or an address without brackets; nil for every address of the machine.
    public var host: String?
    public var port: UInt16

    public init(host: String?, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// - Throws: `AddressError` that says what to write instead.
    public init(parsing text: String) throws(AddressError) {
        if let range = text.firstRange(of: "://") {
            let rest = text[range.upperBound...].prefix { $0 != "/" }
            throw AddressError(
                text, "an address and a port are wanted here, without \(text[..<range.upperBound]); write \(rest)")
        }
        let address = try HostPort(text)
        self.init(host: address.host == .every ? nil : address.host.plain, port: address.port ?? 0)
    }

    /// Returns nil if `text` is not an address and a port.
    public init?(_ text: String) {
        guard let address = try? HTTPAddress(parsing: text) else { return nil }
        self = address
    }

    public var description: String {
        let name = (try? host.map { try Host($0) } ?? .every).map { "\($0)" } ?? host ?? "*"
        return "\(name):\(port)"
    }

    /// The same where a process of this machine asks: the loopback instead of every address.
    public var fromThisMachine: HTTPAddress {
        guard let host else { return HTTPAddress(host: "127.0.0.1", port: port) }
        guard let known = try? Host(host), known.isEvery else { return self }
        if case .ipv6 = known { return HTTPAddress(host: "::1", port: port) }
        return HTTPAddress(host: "127.0.0.1", port: port)
    }
}
