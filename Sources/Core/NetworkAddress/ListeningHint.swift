internal import Glibc

extension Endpoint {
    /// What is wrong with listening at a name, nil if nothing is.
    ///
    /// ZeroMQ takes a name for that of a network interface; what people write there is the name of a host.
    public var listeningProblem: AddressError? {
        guard case .tcp(let address) = self, case .name(let name) = address.host, if_nametoindex(name) == 0 else {
            return nil
        }
        let port = address.port.map { "\($0)" } ?? "*"
        let own = Self.addresses(of: name).prefix(3).map { "tcp://\($0):\(port)" }
        let hint = own.isEmpty ? "" : "\(own.joined(separator: " or ")), "
        let interfaces = Self.interfaces.prefix(8).joined(separator: ", ")
        return AddressError(
            "\(self)",
            "to listen, name an address or a network interface of this machine (\(interfaces)), and not a host; write \(hint)tcp://*:\(port) for every address"
        )
    }

    /// The addresses of a name, as they are written before a port.
    private static func addresses(of name: String) -> [Host] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &found) == 0 else { return [] }
        defer { freeaddrinfo(found) }
        var hosts: [Host] = []
        var next = found
        while let candidate = next?.pointee {
            next = candidate.ai_next
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            guard
                getnameinfo(
                    candidate.ai_addr, candidate.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
            else { continue }
            let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            if let host = try? Host(String(decoding: bytes, as: UTF8.self)), !hosts.contains(host) {
                hosts.append(host)
            }
        }
        return hosts
    }

    private static var interfaces: [String] {
        guard let list = if_nameindex() else { return [] }
        defer { if_freenameindex(list) }
        var names: [String] = []
        var next = list
        while let name = next.pointee.if_name {
            names.append(String(cString: name))
            next += 1
        }
        return names
    }
}
