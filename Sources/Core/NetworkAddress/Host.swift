internal import Glibc

/// A host as it is written in an address.
public enum Host: Hashable, Sendable, CustomStringConvertible {
    /// Every address of this machine, `*`: only to listen.
    case every
    /// The name of a host; to listen, that of a network interface.
    case name(String)
    case ipv4(String)
    /// Without brackets; the zone is that of an address of one link, `eth0` in `fe80::1%eth0`.
    case ipv6(String, zone: String?)

    /// Reads `*`, a name, `127.0.0.1`, or `::1` without brackets.
    ///
    /// - Throws: `AddressError` if it is none.
    public init(_ text: some StringProtocol) throws(AddressError) {
        let text = String(text)
        if text == "*" {
            self = .every
        } else if text.contains(":") {
            let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            var address = in6_addr()
            guard inet_pton(AF_INET6, parts[0], &address) == 1 else {
                throw AddressError(text, "is no IPv6 address")
            }
            if parts.count == 2, parts[1].isEmpty || !parts[1].allSatisfy(Self.isNameCharacter) {
                throw AddressError(text, "has no network interface behind the %")
            }
            self = .ipv6(parts[0], zone: parts.count == 2 ? parts[1] : nil)
        } else if !text.isEmpty, text.allSatisfy({ $0 == "." || ("0"..."9").contains($0) }) {
            var address = in_addr()
            guard inet_pton(AF_INET, text, &address) == 1 else {
                throw AddressError(text, "is no IPv4 address: these are four numbers up to 255")
            }
            self = .ipv4(text)
        } else {
            guard !text.isEmpty else { throw AddressError(text, "names no host") }
            guard text.utf8.count <= 253, text.allSatisfy(Self.isNameCharacter), text.first != "-", text.first != "."
            else { throw AddressError(text, "is neither a host name nor an address") }
            self = .name(text)
        }
    }

    private static func isNameCharacter(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber || "-_.".contains(character))
    }

    /// As it is written before a port: IPv6 in brackets.
    public var description: String {
        switch self {
        case .ipv6: "[\(plain)]"
        default: plain
        }
    }

    /// Without brackets, as the system's functions take it.
    public var plain: String {
        switch self {
        case .every: "*"
        case .name(let name), .ipv4(let name): name
        case .ipv6(let address, let zone): zone.map { "\(address)%\($0)" } ?? address
        }
    }

    /// Whether it stands for every address of this machine: also `0.0.0.0` and `::`.
    public var isEvery: Bool {
        switch self {
        case .every: return true
        case .name: return false
        case .ipv4(let text): return text == "0.0.0.0"
        case .ipv6(let text, _):
            var address = in6_addr()
            guard inet_pton(AF_INET6, text, &address) == 1 else { return false }
            return withUnsafeBytes(of: address) { $0.allSatisfy { $0 == 0 } }
        }
    }

    /// Whether only this machine reaches it.
    public var isLoopback: Bool {
        switch self {
        case .every: return false
        case .name(let name): return name == "localhost"
        case .ipv4(let text): return text.hasPrefix("127.")
        case .ipv6(let text, _):
            var address = in6_addr()
            guard inet_pton(AF_INET6, text, &address) == 1 else { return false }
            return withUnsafeBytes(of: address) { $0.dropLast().allSatisfy { $0 == 0 } && $0.last == 1 }
        }
    }
}
