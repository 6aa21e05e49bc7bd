import ClusterHarness
import Foundation
import Monitoring
import TestSupport
import Testing

/// The HTTP server over real sockets.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct HTTPServerTests {
    private func withServer(
        _ handler: @escaping HTTPServer.Handler = { .text("\($0.path) \($0.query.sorted { $0.key < $1.key })") },
        _ body: (HTTPClient) throws -> Void
    ) throws {
        let server = try HTTPServer(bind: HTTPAddress(host: "127.0.0.1", port: 0), handler: handler)
        defer { server.close() }
        try body(HTTPClient(port: server.address.port))
    }

    private func expect(_ status: Int, _ client: HTTPClient, _ request: String) throws {
        let answer = try client.answer(to: Data(request.utf8))
        #expect(answer.status == status, "\(request.prefix(60)): \(answer.text)")
    }

    @Test func answersWithThePathAndTheQuery() throws {
        try withServer { client in
            let answer = try client.get("/a%20b?x=1&y=%2F&x=2")
            #expect(answer.status == 200)
            #expect(answer.text == #"/a b [(key: "x", value: "2"), (key: "y", value: "/")]"#)
            #expect(answer.headers["x-content-type-options"] == "nosniff")
            try expect(200, client, "GET / HTTP/1.0\r\n\r\n")
            try expect(200, client, "GET http://host:1/p HTTP/1.1\nHost: a\n\n")
        }
    }

    @Test func headHasNoBody() throws {
        try withServer { client in
            let answer = try client.answer(to: Data("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
            #expect(answer.status == 200)
            #expect(answer.body.isEmpty)
            #expect(answer.headers["content-length"] == "5")
        }
    }

    @Test(arguments: [
        ("", 400, "\u{16}\u{03}\u{01}\n\n"), ("method", 400, "get / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no version", 400, "GET /\r\n\r\n"), ("two spaces", 400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("not a path", 400, "GET x HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("percent", 400, "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a zero", 400, "GET /\u{0} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("no host", 400, "GET / HTTP/1.1\r\n\r\n"), ("two hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("no name", 400, "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        ("space before colon", 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        ("version", 505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        ("post", 405, "POST / HTTP/1.1\r\nHost: a\r\n\r\n"), ("delete", 405, "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("body", 413, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
        ("chunks", 413, "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ])
    func whatCannotBeServedGetsAnAnswer(what: String, status: Int, request: String) throws {
        try withServer { client in
            let answer = try client.answer(to: Data(request.utf8))
            #expect(answer.status == status, "\(what): \(answer.text)")
            let object = try JSONSerialization.jsonObject(with: answer.body) as? [String: String]
            #expect(object?["error"]?.isEmpty == false)
            #expect((status == 405) == (answer.headers["allow"] == "GET, HEAD"))
            #expect(try client.get("/").status == 200, "the server goes on")
        }
    }

    @Test func tooLongRequestsAreCutOff() throws {
        try withServer { client in
            let line = "GET /" + String(repeating: "a", count: 3000)
            try expect(414, client, line + " HTTP/1.1\r\nHost: a\r\n\r\n")
            try expect(414, client, line + String(repeating: "a", count: 4_000_000))
            let header = "GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "a", count: 9000)
            try expect(431, client, header + "\r\n\r\n")
            try expect(431, client, header + String(repeating: "b: c\r\n", count: 100_000))
            #expect(try client.get("/").status == 200)
        }
    }

    @Test func idleConnectionsKeepNobodyOut() throws {
        try withServer { client in
            var open: [Int32] = []
            defer { for descriptor in open { close(descriptor) } }
            for index in 0..<300 {
                open.append(try client.connection(sending: Data(index % 2 == 0 ? "GET /".utf8 : "".utf8)))
            }
            for _ in 0..<20 { #expect(try client.get("/").status == 200) }
        }
    }

    @Test func pieceByPieceIsARequestToo() throws {
        try withServer { client in
            let descriptor = try client.connection(sending: Data("GET /slow HT".utf8))
            defer { close(descriptor) }
            for piece in ["TP/1.1\r", "\nHost", ": a\r\n\r", "\n"] {
                Thread.sleep(forTimeInterval: 0.02)
                #expect(send(descriptor, piece, piece.utf8.count, Int32(MSG_NOSIGNAL)) == piece.utf8.count)
            }
            var buffer = [UInt8](repeating: 0, count: 1000)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            #expect(String(decoding: buffer[..<max(count, 0)], as: UTF8.self).hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test func largeAnswersArriveWhole() throws {
        let bytes = (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let handler: HTTPServer.Handler = { _ in HTTPResponse(contentType: "application/octet-stream", body: bytes) }
        try withServer(handler) { client in
            let answer = try client.get("/")
            #expect(answer.body == Data(bytes))
        }
    }

    @Test func addressesAreTakenOnce() throws {
        let server = try HTTPServer(bind: HTTPAddress(host: "127.0.0.1", port: 0)) { _ in .text("") }
        let error = #expect(throws: HTTPServerError.self) {
            try HTTPServer(bind: server.address) { _ in .text("") }
        }
        #expect(error?.isTaken == true)
        #expect(error?.description.contains("\(server.address)") == true)
        server.close()
        #expect(throws: (any Error).self) { try HTTPClient(port: server.address.port).get("/") }
        let again = try HTTPServer(bind: server.address) { _ in .text("") }
        again.close()
        #expect(throws: HTTPServerError.self) {
            try HTTPServer(bind: HTTPAddress(host: "192.0.2.1", port: 0)) { _ in .text("") }
        }
    }

    @Test func addressesAreRead() {
        #expect(HTTPAddress("127.0.0.1:7480") == HTTPAddress(host: "127.0.0.1", port: 7480))
        #expect(HTTPAddress("[::1]:0") == HTTPAddress(host: "::1", port: 0))
        #expect(HTTPAddress("*:80") == HTTPAddress(host: nil, port: 80))
        for text in ["", ":", "7480", ":7480", "::1:80", "a:65536", "a:-1", "a b:1", "http://a:1", "[::1]", "a:"] {
            #expect(HTTPAddress(text) == nil, "\(text)")
        }
        #expect("\(HTTPAddress(host: "::1", port: 5))" == "[::1]:5")
        #expect(HTTPBinding("off") == .off)
        #expect(HTTPBinding.problem(of: "7480")?.contains("--http 7480") == true)
        #expect(HTTPBinding.coordinatorAddress.host == "127.0.0.1", "nobody else without being told to")
    }
}
