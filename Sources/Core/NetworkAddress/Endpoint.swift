/// Where a process is reached, or listens: `tcp://HOST:PORT` or `ipc://PATH`.
public enum Endpoint: Hashable, Sendable, CustomStringConvertible {
    case tcp(HostPort)
    /// A socket in the file system of one machine.
    case ipc(String)

    /// What is to be done with it.
    public enum Use: Sendable {
        /// The host may be `*`, the port too.
        case listen
        /// Both must be named.
        case connect
    }

    /// The longest path of a socket, in bytes: what the system's addresses have room for.
    static let pathLimit = 107

    /// Reads an endpoint.
    ///
    /// - Throws: `AddressError` that says what to write instead.
    public init(_ text: String, to use: Use) throws(AddressError) {
        guard let separator = text.firstRange(of: "://") else {
            let example = (try? HostPort(text)).map { "tcp://\($0)" } ?? "tcp://HOST:PORT or ipc://PATH"
            throw AddressError(text, "is no endpoint; write \(example)")
        }
        let rest = String(text[separator.upperBound...])
        switch text[..<separator.lowerBound].lowercased() {
        case "tcp":
            let address = try HostPort(rest, prefix: "tcp://")
            if use == .connect {
                if address.host == .every {
                    throw AddressError(
                        text, "* is where to listen; write the name or the address of the host to connect to")
                }
                if address.port == nil { throw AddressError(text, "the port to connect to is not named") }
            }
            self = .tcp(address)
        case "ipc":
            guard !rest.isEmpty else { throw AddressError(text, "names no path") }
            guard rest.utf8.count <= Self.pathLimit else {
                throw AddressError(
                    text, "has a path of \(rest.utf8.count) bytes; the system takes \(Self.pathLimit) at most")
            }
            guard !rest.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) else {
                throw AddressError(text, "has a control character in it")
            }
            if use == .connect, rest == "*" {
                throw AddressError(text, "* is where to listen; write the path to connect to")
            }
            self = .ipc(rest)
        case let scheme:
            throw AddressError(text, "\(scheme):// is not spoken here; write tcp://HOST:PORT or ipc://PATH")
        }
    }

    public var description: String {
        switch self {
        case .tcp(let address): "tcp://\(address)"
        case .ipc(let path): "ipc://\(path)"
        }
    }

    /// Whether it stands for every address of this machine, so that it names none that a peer could use.
    public var isEverywhere: Bool {
        if case .tcp(let address) = self { address.host.isEvery } else { false }
    }

    /// Whether only this machine reaches it.
    public var isLocal: Bool {
        if case .tcp(let address) = self { address.host.isLoopback } else { true }
    }

    /// The same where a process of this machine connects to: the loopback instead of every address.
    public var fromThisMachine: Endpoint {
        guard case .tcp(var address) = self, address.host.isEvery else { return self }
        if case .ipv6 = address.host {
            address.host = .ipv6("::1", zone: nil)
        } else {
            address.host = .ipv4("127.0.0.1")
        }
        return .tcp(address)
    }
}
