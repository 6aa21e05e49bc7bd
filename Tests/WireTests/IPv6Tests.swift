import NetworkAddress
import StepProtocol
import TestSupport
import Testing
import Wire

#if canImport(Glibc)
    import Glibc
#endif

/// Sockets of IPv6 and IPv4, and names that have addresses of both.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct IPv6Tests {
    private static func answer(at bind: String, to connect: (String) -> String) throws {
        let server = try TestServer(bind: bind) { _ in .acknowledged }
        defer { server.close() }
        let port = server.server.endpoint.split(separator: ":").last.map(String.init) ?? ""
        let client = try OperatorClient(connect: connect(port), deadline: .seconds(30))
        defer { client.close() }
        let answer = try client.request(.readClasses, deadline: .seconds(30))
        #expect(answer.name == WireMessage.acknowledged.name)
    }

    /// Whether this machine has a loopback of IPv6.
    static var hasIPv6: Bool {
        let socket = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
        guard socket >= 0 else { return false }
        defer { close(socket) }
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_addr = in6addr_loopback
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in6>.size)) == 0
            }
        }
    }

    @Test(
        .enabled(if: hasIPv6),
        arguments: [
            ("tcp://[::1]:*", "[::1]"), ("tcp://[::]:0", "[::1]"), ("tcp://[::]:*", "127.0.0.1"),
            ("tcp://*:*", "[::1]"),
            ("tcp://*:*", "127.0.0.1"), ("tcp://0.0.0.0:*", "127.0.0.1"), ("tcp://lo:*", "127.0.0.1"),
        ])
    func serversAreReached(bind: String, host: String) throws {
        try Self.answer(at: bind) { "tcp://\(host):\($0)" }
    }

    /// localhost is 127.0.0.1 and, on most machines, ::1; the server listens at one of them.
    @Test(.enabled(if: hasIPv6), arguments: ["tcp://127.0.0.1:*", "tcp://[::1]:*", "tcp://*:*"])
    func namesLeadToEitherFamily(bind: String) throws {
        // Where the hosts file has no ::1 for localhost, this is its usual other name.
        let names = ["localhost", "ip6-localhost"].filter { !bind.contains("::1") || Self.resolves($0) }
        guard let name = names.first else { return }
        try Self.answer(at: bind) { "tcp://\(name):\($0)" }
    }

    private static func resolves(_ name: String) -> Bool {
        var hints = addrinfo()
        hints.ai_family = AF_INET6
        var found: UnsafeMutablePointer<addrinfo>?
        defer { if let found { freeaddrinfo(found) } }
        return getaddrinfo(name, nil, &hints, &found) == 0
    }

    @Test func portsAndNamesAreNotRewritten() {
        for (bind, hint) in [
            ("tcp://127.0.0.1:73186", "beyond 65535"), ("tcp://localhost:0", "tcp://127.0.0.1:*"),
            ("tcp://::1:0", "brackets"),
            ("tcp://192.0.2.1:0", "no such address"),
        ] {
            let error = #expect(throws: WireError.self) {
                try ServerEndpoint(bind: bind, events: Mailbox<ServerEvent>().sink { $0 })
            }
            #expect(error?.message.contains(hint) == true, "\(error?.message ?? "")")
        }
    }
}
