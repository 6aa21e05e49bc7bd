import Foundation
import Monitoring
import OperatorStatus

/// What the coordinator serves over HTTP.
struct ClusterPages: Sendable {
    let monitor: ClusterMonitor
    let counters: HTTPCounters

    /// Points of `/api/history` if the request says nothing, and at most.
    static let points = 400
    static let pointLimit = 2048

    private static let paths = [
        "/", "/metrics", "/healthz", "/readyz", "/api/status", "/api/shards", "/api/workers", "/api/slices",
        "/api/events",
        "/api/history", "/api/schema.json",
    ]

    /// The answer to a request. Reads what the coordinator's loop has made known, and waits for nothing.
    func answer(_ request: HTTPRequest) -> HTTPResponse {
        switch request.path {
        case "/": return page
        case "/healthz": return monitor.health.healthResponse
        case "/readyz": return monitor.health.readyResponse
        case "/api/schema.json": return .json(PackageResources.api_schema_json)
        case "/api/events": return number("count", 50, in: 1...ClusterMonitor.eventLimit, request) { events($0) }
        case "/api/history": return number("points", Self.points, in: 1...Self.pointLimit, request) { history($0) }
        case "/metrics", "/api/status", "/api/shards", "/api/workers", "/api/slices":
            guard let snapshot = monitor.latest else {
                return .error(.serviceUnavailable, "the coordinator is starting; try again in a second")
            }
            return answer(request.path, snapshot)
        default:
            return .error(
                .notFound, "there is no page \(request.path); there are \(Self.paths.joined(separator: ", "))")
        }
    }

    private func answer(_ path: String, _ snapshot: ClusterMonitor.Snapshot) -> HTTPResponse {
        switch path {
        case "/metrics":
            ClusterMetrics.text(
                snapshot, monitor.totals, isReady: monitor.health.isReady, turnAge: monitor.health.turnAge,
                http: counters.values
            ).response
        case "/api/shards": json(snapshot.status.shards)
        case "/api/workers": json(snapshot.status.workers)
        case "/api/slices": json(snapshot.slices)
        default: json(snapshot.status)
        }
    }

    private var page: HTTPResponse {
        var response = HTTPResponse(contentType: "text/html; charset=utf-8", body: PackageResources.index_html)
        // The page needs nothing from anywhere else, and so it may have nothing from anywhere else.
        response.headers = [
            (
                "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
                    + "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ), ("Referrer-Policy", "no-referrer"),
        ]
        return response
    }

    private func events(_ count: Int) -> HTTPResponse { json(monitor.events(last: count)) }

    private func history(_ points: Int) -> HTTPResponse { json(monitor.history(limit: points)) }

    /// Answers with a number of the query, which must be in a range.
    private func number(
        _ name: String, _ usual: Int, in range: ClosedRange<Int>, _ request: HTTPRequest,
        _ answer: (Int) -> HTTPResponse
    ) -> HTTPResponse {
        guard let text = request.query[name] else { return answer(usual) }
        guard let value = Int(text), range.contains(value) else {
            return .error(
                .badRequest, "\(name)=\(text) is not a number in \(range.lowerBound)...\(range.upperBound)")
        }
        return answer(value)
    }

    private func json(_ value: some Encodable) -> HTTPResponse {
        do { return .json(try StatusJSON.encode(value)) } catch {
            return .error(.internalServerError, "the answer cannot be encoded: \(error)")
        }
    }
}
