import Logging
import Monitoring
import ProcessSupport

extension Serve {
    /// Serves the dashboard.
    func serve(_ monitor: ClusterMonitor, _ log: Logger) throws -> HTTPServer {
        let counters = HTTPCounters()
        let pages = ClusterPages(monitor: monitor, counters: counters)
        let server = try serve(counters, log, pages.answer)
        // In a container: where the engine makes it known, which nothing inside can find out.
        if let published = EnvironmentDefaults.text("PARTIALFC_HTTP_PUBLISHED"), !published.isEmpty {
            let address = published.contains(":") ? published : "127.0.0.1:\(published)"
            let place = address.hasSuffix(":") ? "a port that `docker compose port` names" : "http://\(address)/"
            log.info("dashboard at \(place) of the host (in the container: \(server.url))")
        } else {
            log.info("dashboard at \(server.url)")
        }
        return server
    }

    /// Serves what a coordinator that does not decide has to say: whether it is alive, and whether it could take over.
    func serve(_ health: ProcessHealth, _ log: Logger) throws -> HTTPServer {
        let counters = HTTPCounters()
        let pages = MemberPages(health: health) {
            var text = MetricsText()
            text.addBuild(program: "coordinator", version: programVersion)
            text.add(
                "partialfc_ready", .gauge, "Whether this standby has every decision of the coordinator.",
                health.isReady ? 1 : 0)
            text.addHTTP(counters.values)
            text.addProcess()
            return text
        }
        return try serve(counters, log, pages.answer)
    }

    /// Serves HTTP where the option says, or at the usual address or beside it.
    private func serve(
        _ counters: HTTPCounters, _ log: Logger, _ answer: @escaping @Sendable (HTTPRequest) -> HTTPResponse
    ) throws -> HTTPServer {
        let server: HTTPServer
        if let httpBinding, case .at(let address) = HTTPBinding(httpBinding) {
            server = try HTTPServer(bind: address, counters: counters, handler: answer)
        } else {
            var address = HTTPBinding.coordinatorAddress
            do { server = try HTTPServer(bind: address, counters: counters, handler: answer) } catch {
                guard error.isTaken else { throw error }
                log.warning("\(error); the system chooses another port")
                address.port = 0
                server = try HTTPServer(bind: address, counters: counters, handler: answer)
            }
        }
        return server
    }
}
