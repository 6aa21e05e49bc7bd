import NetworkAddress
import TestSupport
import Testing

/// One parser for every place where an address is written, and one printer.
@Suite(.tags(.fast), .timeLimit(.minutes(20))) struct EndpointTests {
    @Test(arguments: [
        ("tcp://127.0.0.1:7400", "tcp://127.0.0.1:7400"), ("tcp://[::1]:7400", "tcp://[::1]:7400"),
        ("tcp://*:7400", "tcp://*:7400"), ("tcp://[::]:7400", "tcp://[::]:7400"),
        ("tcp://0.0.0.0:*", "tcp://0.0.0.0:*"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:*"), ("TCP://Host-a.example:65535", "tcp://Host-a.example:65535"),
        ("tcp://[fe80::1%eth0]:7400", "tcp://[fe80::1%eth0]:7400"), ("tcp://pfc_shard-0:1", "tcp://pfc_shard-0:1"),
        ("tcp://[2001:db8::7]:7400", "tcp://[2001:db8::7]:7400"), ("ipc:///run/a b.sock", "ipc:///run/a b.sock"),
        ("tcp://[::ffff:192.0.2.1]:7400", "tcp://[::ffff:192.0.2.1]:7400"), ("ipc://*", "ipc://*"),
    ])
    func endpointsReadBack(text: String, printed: String) throws {
        let endpoint = try Endpoint(text, to: .listen)
        #expect("\(endpoint)" == printed)
        #expect(try Endpoint(printed, to: .listen) == endpoint)
    }

    @Test(arguments: [
        ("127.0.0.1:7400", "write tcp://127.0.0.1:7400"), ("7400", "write tcp://HOST:PORT"),
        ("", "write tcp://HOST:PORT"),
        ("[::1]:7400", "write tcp://[::1]:7400"), ("http://a:1", "http:// is not spoken here"),
        ("udp://a:1", "write tcp://HOST:PORT"), ("tcp://127.0.0.1:73186", "73186 is beyond 65535"),
        ("tcp://127.0.0.1:65536", "beyond"), ("tcp://127.0.0.1:-1", "no port"), ("tcp://127.0.0.1:http", "no port"),
        ("tcp://127.0.0.1:", "no port behind"), ("tcp://127.0.0.1", "write tcp://127.0.0.1:PORT"),
        ("tcp://:7650", "write tcp://*:7650"), ("tcp://127.0.0.1:7650/", "write tcp://127.0.0.1:7650"),
        ("tcp://127.0.0.1:7650/path", "write tcp://127.0.0.1:7650"), ("tcp:// a:1", "space"), ("tcp://a:1 ", "space"),
        ("tcp://::1:7650", "write tcp://[::1]:7650"), ("tcp://fe80::1", "write tcp://[fe80::1]:PORT"),
        ("tcp://[::1", "no ]"), ("tcp://[::1]", "write tcp://[::1]:PORT"), ("tcp://[::1]7650", "no : and port"),
        ("tcp://[127.0.0.1]:7650", "write tcp://127.0.0.1:7650"), ("tcp://[:::]:1", "no IPv6 address"),
        ("tcp://[fe80::1%]:1", "no network interface"), ("tcp://256.0.0.1:1", "four numbers"),
        ("tcp://127.1:1", "four numbers"),
        ("tcp://10.0.0.1;10.0.0.2:1", "neither a host name"), ("tcp://a,b:1", "neither"), ("tcp://-a:1", "neither"),
        ("tcp://über.example:1", "neither"), ("tcp://a\u{1B}[31m:1", "neither"), ("tcp:/a:1", "is no endpoint"),
        ("ipc://", "no path"), ("ipc://" + String(repeating: "x", count: 108), "107"), ("ipc:///a\nb", "control"),
        ("tcp://" + String(repeating: "x", count: 300) + ":1", "neither"), ("tcp://a:007400", ""),
    ])
    func whatIsNoneSaysWhatToWrite(text: String, hint: String) {
        if hint.isEmpty {
            #expect((try? Endpoint(text, to: .connect)) != nil)
            return
        }
        for use in [Endpoint.Use.listen, .connect] {
            let error = #expect(throws: AddressError.self) { try Endpoint(text, to: use) }
            #expect(error?.problem.contains(hint) == true, "\(error?.problem ?? "")")
            #expect("\(error.map { "\($0)" } ?? "")".unicodeScalars.allSatisfy { $0.value >= 0x20 })
        }
    }

    @Test(arguments: ["tcp://*:7400", "tcp://127.0.0.1:0", "tcp://host:*", "ipc://*"])
    func toConnectIsNotToListen(text: String) throws {
        _ = try Endpoint(text, to: .listen)
        #expect(throws: AddressError.self) { try Endpoint(text, to: .connect) }
    }

    @Test func aHostIsNoPlaceToListen() throws {
        let local = try #require(try Endpoint("tcp://localhost:7650", to: .listen).listeningProblem)
        #expect(local.problem.contains("tcp://127.0.0.1:7650") && local.problem.contains("tcp://*:7650"))
        #expect(local.problem.contains("(lo"), "\(local.problem)")
        #expect(
            try Endpoint("tcp://no-such-host.invalid:*", to: .listen).listeningProblem?.problem.contains("tcp://*:*")
                == true)
        for text in ["tcp://lo:1", "tcp://*:1", "tcp://[::1]:1", "tcp://127.0.0.1:1", "ipc://x"] {
            #expect(try Endpoint(text, to: .listen).listeningProblem == nil)
        }
        #expect(
            Endpoint.problem(of: "--bind", "tcp://localhost:1", to: .listen)?.hasPrefix("--bind tcp://localhost:1: ")
                == true)
        #expect(Endpoint.problem(of: "--coordinator", "tcp://localhost:1", to: .connect) == nil)
    }

    @Test func everywhereAndHere() throws {
        for (text, everywhere, local, here) in [
            ("tcp://*:7", true, false, "tcp://127.0.0.1:7"), ("tcp://0.0.0.0:7", true, false, "tcp://127.0.0.1:7"),
            ("tcp://[::]:7", true, false, "tcp://[::1]:7"), ("tcp://[0:0::0]:7", true, false, "tcp://[::1]:7"),
            ("tcp://127.0.0.2:7", false, true, "tcp://127.0.0.2:7"), ("tcp://[::1]:7", false, true, "tcp://[::1]:7"),
            ("tcp://192.0.2.1:7", false, false, "tcp://192.0.2.1:7"), ("ipc://a", false, true, "ipc://a"),
        ] {
            let endpoint = try Endpoint(text, to: .listen)
            #expect(endpoint.isEverywhere == everywhere && endpoint.isLocal == local)
            #expect("\(endpoint.fromThisMachine)" == here)
        }
    }

    @Test(arguments: [
        ("host-b", "tcp://host-b:7652"), ("host-b:80", "tcp://host-b:80"), ("127.0.0.1:7652", "tcp://127.0.0.1:7652"),
        ("192.0.2.7", "tcp://192.0.2.7:7652"), ("::1", "tcp://[::1]:7652"), ("[::1]", "tcp://[::1]:7652"),
        ("[::1]:80", "tcp://[::1]:80"), ("2001:db8::7", "tcp://[2001:db8::7]:7652"),
        ("tcp://host-b:80", "tcp://host-b:80"),
        ("tcp://host-b", "tcp://host-b:7652"),
    ])
    func whatOthersConnectTo(text: String, endpoint: String) throws {
        let listening = try Endpoint("tcp://*:7652", to: .listen)
        #expect("\(try AdvertisedAddress(text).endpoint(of: listening))" == endpoint)
        let file = try Endpoint("ipc://a", to: .listen)
        #expect(try AdvertisedAddress(text).endpoint(of: file) == file)
    }

    @Test(arguments: [
        "", "*", "0.0.0.0", "::", "[::]", "host:0", "host:*", "host:70000", "http://host", "host:1:2", "a b",
        "fe80::1%eth0",
        "[host]", "host/", "300.1.1.1",
    ])
    func whatOthersCannotConnectTo(text: String) {
        let error = #expect(throws: AddressError.self) { try AdvertisedAddress(option: "--advertise", text) }
        #expect(error?.text == "--advertise \(text)" && error?.problem.isEmpty == false)
    }
}
