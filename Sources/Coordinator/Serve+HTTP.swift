import Logging
import Monitoring
import ProcessSupport

extension Serve {
    /// Serves HTTP where the option says, or at the usual address or beside it.
    func serve(_ monitor: ClusterMonitor, _ log: Logger) throws -> HTTPServer {
        let counters = HTTPCounters()
        let pages = ClusterPages(monitor: monitor, counters: counters)
        let server: HTTPServer
        if let httpBinding, case .at(let address) = HTTPBinding(httpBinding) {
            server = try HTTPServer(bind: address, counters: counters, handler: pages.answer)
        } else {
            var address = HTTPBinding.coordinatorAddress
            do { server = try HTTPServer(bind: address, counters: counters, handler: pages.answer) } catch {
                guard error.isTaken else { throw error }
                log.warning("\(error); the system chooses another port")
                address.port = 0
                server = try HTTPServer(bind: address, counters: counters, handler: pages.answer)
            }
        }
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
}
