/// Where a process serves HTTP: `127.0.0.1:7480`, `[::1]:7480`, `*:7480` for every address; port 0 lets the system choose.
public struct HTTPAddress: Sendable, Equatable, CustomStringConvertible {
    /// A name or an address without brackets; nil for every address of the machine.
    public var host: String?
    public var port: UInt16

    public init(host: String?, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Returns nil if `text` is not an address and a port.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            // Without brackets nobody can tell the port from the address.
            return nil
        }
        guard !host.isEmpty, host.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || ".:-_*%".contains($0)) })
        else { return nil }
        self.init(host: host == "*" ? nil : String(host), port: port)
    }

    public var description: String {
        let name = host ?? "*"
        return (name.contains(":") ? "[\(name)]" : name) + ":\(port)"
    }
}
