/// The pages of a shard server or a worker: `/metrics`, `/healthz` and `/readyz`.
public struct MemberPages: Sendable {
    private let health: ProcessHealth
    private let metrics: @Sendable () -> MetricsText

    /// - Parameter metrics: makes the page's text, on the HTTP server's thread, without waiting for the process's loop.
    public init(health: ProcessHealth, metrics: @escaping @Sendable () -> MetricsText) {
        self.health = health
        self.metrics = metrics
    }

    /// The answer to a request.
    public func answer(_ request: HTTPRequest) -> HTTPResponse {
        switch request.path {
        case "/metrics": metrics().response
        case "/healthz": health.healthResponse
        case "/readyz": health.readyResponse
        case "/": .text("/metrics\n/healthz\n/readyz\n")
        default: .error(.notFound, "there is no page \(request.path); there are /metrics, /healthz and /readyz")
        }
    }
}
