internal import Foundation

/// The number and the words of an answer's first line.
public enum HTTPStatus: Int, Sendable {
    case ok = 200
    case badRequest = 400
    case notFound = 404
    case methodNotAllowed = 405
    case requestTimeout = 408
    case contentTooLarge = 413
    case uriTooLong = 414
    case headersTooLarge = 431
    case internalServerError = 500
    case serviceUnavailable = 503
    case versionNotSupported = 505

    var phrase: String {
        switch self {
        case .ok: "OK"
        case .badRequest: "Bad Request"
        case .notFound: "Not Found"
        case .methodNotAllowed: "Method Not Allowed"
        case .requestTimeout: "Request Timeout"
        case .contentTooLarge: "Content Too Large"
        case .uriTooLong: "URI Too Long"
        case .headersTooLarge: "Request Header Fields Too Large"
        case .internalServerError: "Internal Server Error"
        case .serviceUnavailable: "Service Unavailable"
        case .versionNotSupported: "HTTP Version Not Supported"
        }
    }
}

/// Why a request is not served.
struct HTTPRefusal: Error, Equatable {
    var status: HTTPStatus
    var message: String

    init(_ status: HTTPStatus, _ message: String) {
        self.status = status
        self.message = message
    }
}

/// An answer, whole.
public struct HTTPResponse: Sendable {
    public var status: HTTPStatus
    public var contentType: String
    public var body: [UInt8]
    /// Further headers, by name.
    public var headers: [(name: String, value: String)] = []

    public init(_ status: HTTPStatus = .ok, contentType: String, body: some Sequence<UInt8>) {
        self.status = status
        self.contentType = contentType
        self.body = Array(body)
    }

    /// Plain text.
    public static func text(_ text: String, _ status: HTTPStatus = .ok) -> HTTPResponse {
        HTTPResponse(status, contentType: "text/plain; charset=utf-8", body: text.utf8)
    }

    /// JSON that is encoded already.
    public static func json(_ body: some Sequence<UInt8>, _ status: HTTPStatus = .ok) -> HTTPResponse {
        HTTPResponse(status, contentType: "application/json", body: body)
    }

    /// What is wrong, as `{"error": "…"}`.
    public static func error(_ status: HTTPStatus, _ message: String) -> HTTPResponse {
        let body = try? JSONSerialization.data(withJSONObject: ["error": message], options: .withoutEscapingSlashes)
        var response = HTTPResponse.json(body ?? Data("{}".utf8), status)
        if status == .methodNotAllowed { response.headers.append(("Allow", "GET, HEAD")) }
        return response
    }

    /// The bytes for the socket. Every answer ends its connection.
    func encoded(isHead: Bool) -> [UInt8] {
        var head = "HTTP/1.1 \(status.rawValue) \(status.phrase)\r\nContent-Type: \(contentType)\r\n"
        head += "Content-Length: \(body.count)\r\nConnection: close\r\nCache-Control: no-store\r\n"
        head += "X-Content-Type-Options: nosniff\r\n"
        for header in headers { head += "\(header.name): \(header.value)\r\n" }
        return Array((head + "\r\n").utf8) + (isHead ? [] : body)
    }
}
