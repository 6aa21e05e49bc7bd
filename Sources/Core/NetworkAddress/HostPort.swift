/// A host and a port: `127.0.0.1:7480`, `[::1]:7480`, `host-a:7480`, `*:7480`.
public struct HostPort: Hashable, Sendable, CustomStringConvertible {
    public var host: Host
    /// nil lets the system choose.
    public var port: UInt16?

    public init(host: Host, port: UInt16?) {
        self.host = host
        self.port = port == 0 ? nil : port
    }

    /// Reads a host and a port; `*` or 0 lets the system choose the port.
    ///
    /// - Parameter prefix: what the whole text has before this, for what a message tells to write.
    /// - Throws: `AddressError` that says what to write instead.
    public init(_ text: some StringProtocol, prefix: String = "") throws(AddressError) {
        let text = String(text)
        func failure(_ problem: String) -> AddressError { AddressError(prefix + text, problem) }
        try Self.checkCharacters(text, prefix)
        guard let (host, port) = try Self.split(text, prefix) else {
            throw failure("has no port; write \(prefix)\(Self.bracketed(text)):PORT")
        }
        guard !host.isEmpty else {
            throw failure(
                "names no host; write \(prefix)*:\(port) for every address of this machine, or \(prefix)127.0.0.1:\(port)"
            )
        }
        do { self.host = try Host(host) } catch { throw failure("\"\(host)\" \(error.problem)") }
        self.port = try Self.port(port, of: prefix + text)
    }

    /// As it is written; `*` for a port that the system chooses.
    public var description: String { "\(host):\(port.map { "\($0)" } ?? "*")" }

    private static func checkCharacters(_ text: String, _ prefix: String) throws(AddressError) {
        if text.contains(where: \.isWhitespace) { throw AddressError(prefix + text, "has a space in it") }
        if let slash = text.firstIndex(of: "/") {
            let before = text[..<slash]
            let hint = before.isEmpty || before.hasSuffix(":") ? "" : "; write \(prefix)\(before)"
            throw AddressError(prefix + text, "has a / in it\(hint)")
        }
    }

    /// The texts before and behind the colon; nil if there is no port.
    private static func split(_ text: String, _ prefix: String) throws(AddressError) -> (host: String, port: String)? {
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw AddressError(prefix + text, "has no ] behind the [") }
            let host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard host.contains(":") else {
                throw AddressError(prefix + text, "has no IPv6 address in its brackets; write \(prefix)\(host)\(rest)")
            }
            if rest.isEmpty { return nil }
            guard rest.hasPrefix(":") else { throw AddressError(prefix + text, "has no : and port behind the ]") }
            return (String(host), String(rest.dropFirst()))
        }
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let (host, port) = (String(text[..<colon]), String(text[text.index(after: colon)...]))
        guard !host.contains(":") else {
            // Without brackets nobody can tell the port from the address.
            let known = (try? Host(host)).map { "\($0):\(port)" }
            let whole = (try? Host(text)).map { "\($0):PORT" }
            let hint = [known, whole].compactMap { $0 }.map { prefix + $0 }.joined(separator: " or ")
            throw AddressError(
                prefix + text,
                "has several colons: an IPv6 address is written in brackets\(hint.isEmpty ? ", [::1]:PORT" : "; write \(hint)")"
            )
        }
        return (host, port)
    }

    private static func bracketed(_ text: String) -> String { (try? Host(text)).map { "\($0)" } ?? text }

    /// A port of 1 to 65535; nil for `*` and 0.
    static func port(_ text: String, of whole: String) throws(AddressError) -> UInt16? {
        if text == "*" { return nil }
        guard !text.isEmpty else { throw AddressError(whole, "has no port behind the colon") }
        guard text.allSatisfy({ ("0"..."9").contains($0) }) else {
            throw AddressError(whole, "\"\(text)\" is no port; a number up to 65535 is wanted")
        }
        guard let port = UInt16(text) else { throw AddressError(whole, "port \(text) is beyond 65535") }
        return port == 0 ? nil : port
    }
}
