import Logging
import Monitoring

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
        log.info("dashboard at \(server.url)")
        return server
    }
}
