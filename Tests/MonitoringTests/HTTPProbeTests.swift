import ClusterHarness
import Foundation
import Monitoring
import TestSupport
import Testing

/// What a health check asks with.
@Suite(.tags(.fast), .ownThread, .timeLimit(.minutes(20))) struct HTTPProbeTests {
    private func probe(_ port: UInt16, host: String? = "127.0.0.1", seconds: Double = 10) -> HTTPProbe {
        HTTPProbe(HTTPAddress(host: host, port: port), limit: .seconds(seconds))
    }

    @Test func statusAndTextComeBack() throws {
        let health = ProcessHealth()
        let pages = MemberPages(health: health) { MetricsText() }
        let server = try HTTPServer(bind: HTTPAddress(host: nil, port: 0), handler: pages.answer)
        defer { server.close() }
        let port = server.address.port
        let alive = try probe(port).get("/healthz")
        #expect(alive.status == 200 && alive.text == "ok\n")
        let starting = try probe(port, host: nil).get("/readyz")
        #expect(starting.status == 503 && starting.text == "not ready: starting\n")
        health.turn(obstacle: nil)
        let ready = try probe(port, host: "localhost").get("/readyz")
        #expect(ready.status == 200 && ready.text == "ready\n")
    }

    @Test func nobodyIsNamed() throws {
        let server = try HTTPServer(bind: HTTPAddress(host: "127.0.0.1", port: 0)) { _ in .text("") }
        let port = server.address.port
        server.close()
        let error = #expect(throws: HTTPProbeError.self) { try probe(port).get("/healthz") }
        #expect(error?.description.contains("http://127.0.0.1:\(port)/: Connection refused") == true)
        #expect(throws: HTTPProbeError.self) { try probe(1, host: "nobody.invalid").get("/") }
    }

    /// A server that takes a connection and says nothing, or something else than HTTP.
    @Test func whoDoesNotAnswerIsGivenUp() throws {
        let server = try DeafServer()
        defer { server.close() }
        let late = #expect(throws: HTTPProbeError.self) { try probe(server.port, seconds: 0.3).get("/") }
        #expect(late?.problem == "no answer in time")
    }

    @Test func whatIsNotHTTPIsSaid() throws {
        let server = try DeafServer(saying: "220 mail.example ESMTP\r\n\r\n")
        defer { server.close() }
        let other = #expect(throws: HTTPProbeError.self) { try probe(server.port).get("/") }
        #expect(other?.problem == "the answer is not HTTP")
    }
}

/// Takes one connection after the other, says the same to all, and then closes; or says nothing and does not.
private final class DeafServer: @unchecked Sendable {
    let port: UInt16
    private let listener: Int32

    init(saying text: String? = nil) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 8) == 0 ? getsockname(listener, $0, &length) : -1
            }
        }
        guard code == 0 else { throw HarnessError("no port to listen at") }
        port = UInt16(bigEndian: address.sin_port)
        self.listener = listener
        guard let text else { return }
        Thread.detachNewThread {
            while case let connection = accept(listener, nil, nil), connection >= 0 {
                var buffer = [UInt8](repeating: 0, count: 4096)
                _ = recv(connection, &buffer, buffer.count, 0)
                _ = send(connection, text, text.utf8.count, Int32(MSG_NOSIGNAL))
                Glibc.close(connection)
            }
        }
    }

    func close() {
        shutdown(listener, Int32(SHUT_RDWR))
        Glibc.close(listener)
    }
}
