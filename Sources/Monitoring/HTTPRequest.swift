internal import Foundation

/// What a client asks for: the part of HTTP/1.1 that a page that is only read needs.
public struct HTTPRequest: Sendable, Equatable {
    /// Whether the body is left out of the answer.
    public var isHead: Bool
    /// Without the query, percent signs decoded: `/api/status`.
    public var path: String
    /// Names and values after the question mark; of a name that comes twice the last value.
    public var query: [String: String]

    public init(isHead: Bool = false, path: String, query: [String: String] = [:]) {
        self.isHead = isHead
        self.path = path
        self.query = query
    }

    /// Bytes that the request line, and the request with all of its headers, may have.
    static let lineLimit = 2048
    static let headLimit = 8192

    /// What `bytes`, all that has come so far, are.
    ///
    /// - Returns: nil if the request is not complete yet; a failure with the answer if it cannot be served.
    static func parse(_ bytes: [UInt8]) -> Result<HTTPRequest, HTTPRefusal>? {
        // A client that speaks TLS or something else would wait for an answer that never comes.
        if let first = bytes.first, !(0x41...0x5A).contains(first) {
            return .failure(HTTPRefusal(.badRequest, "this is not an HTTP request"))
        }
        let lines = bytes.prefix(headLimit).split(separator: 0x0A, omittingEmptySubsequences: false).map {
            $0.last == 0x0D ? $0.dropLast() : $0
        }
        // The last piece is not a line yet.
        let whole = lines.dropLast()
        guard (whole.first ?? lines[0]).count <= lineLimit else {
            return .failure(HTTPRefusal(.uriTooLong, "the request line has more than \(lineLimit) bytes"))
        }
        guard let end = whole.firstIndex(where: \.isEmpty) else {
            guard bytes.count >= headLimit else { return nil }
            return .failure(HTTPRefusal(.headersTooLarge, "the headers have more than \(headLimit) bytes"))
        }
        return Result { () throws(HTTPRefusal) in try HTTPRequest(line: whole[0], headers: whole[1..<end]) }
    }

    private init(line: ArraySlice<UInt8>, headers: ArraySlice<ArraySlice<UInt8>>) throws(HTTPRefusal) {
        guard line.allSatisfy({ (0x20...0x7E).contains($0) }) else {
            throw HTTPRefusal(.badRequest, "the request line has bytes that are not printable ASCII")
        }
        let parts = String(decoding: line, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[2].hasPrefix("HTTP/") else {
            throw HTTPRefusal(.badRequest, "the request line is not METHOD PATH HTTP/1.1")
        }
        guard parts[2] == "HTTP/1.1" || parts[2] == "HTTP/1.0" else {
            throw HTTPRefusal(.versionNotSupported, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        }
        let fields = try Self.fields(headers)
        if fields.contains(where: { $0.name == "transfer-encoding" || $0.name == "content-length" && $0.value != "0" })
        {
            throw HTTPRefusal(.contentTooLarge, "requests with a body are not taken")
        }
        guard parts[2] == "HTTP/1.0" || fields.count(where: { $0.name == "host" }) == 1 else {
            throw HTTPRefusal(.badRequest, "an HTTP/1.1 request has exactly one Host header")
        }
        guard parts[0] == "GET" || parts[0] == "HEAD" else {
            throw HTTPRefusal(.methodNotAllowed, "only GET and HEAD are allowed: nothing can be changed here")
        }
        isHead = parts[0] == "HEAD"
        (path, query) = try Self.target(parts[1])
    }

    private static func fields(
        _ headers: ArraySlice<ArraySlice<UInt8>>
    ) throws(HTTPRefusal) -> [(name: String, value: String)] {
        var fields: [(name: String, value: String)] = []
        for line in headers {
            let isName = { (byte: UInt8) in byte > 0x20 && byte < 0x7F }
            guard let colon = line.firstIndex(of: 0x3A), colon > line.startIndex, line[..<colon].allSatisfy(isName),
                line.allSatisfy({ $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F })
            else { throw HTTPRefusal(.badRequest, "a header is not NAME: VALUE") }
            let value = String(decoding: line[(colon + 1)...], as: UTF8.self).trimmingCharacters(in: .whitespaces)
            fields.append((String(decoding: line[..<colon], as: UTF8.self).lowercased(), value))
        }
        return fields
    }

    private static func target(_ text: Substring) throws(HTTPRefusal) -> (String, [String: String]) {
        var target = text
        // What proxies send: http://host/path.
        if target.lowercased().hasPrefix("http://") {
            let rest = target.dropFirst(7)
            target = rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
        }
        guard target.hasPrefix("/") else { throw HTTPRefusal(.badRequest, "the path does not begin with /") }
        let pieces = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var query: [String: String] = [:]
        for item in pieces.dropFirst().first?.split(separator: "&") ?? [] {
            let pair = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            query[try decoded(pair[0])] = pair.count > 1 ? try decoded(pair[1]) : ""
        }
        return (try decoded(pieces[0]), query)
    }

    private static func decoded(_ text: Substring) throws(HTTPRefusal) -> String {
        guard let text = text.removingPercentEncoding else {
            throw HTTPRefusal(.badRequest, "the path or the query has a percent sign that encodes nothing")
        }
        return text
    }
}
