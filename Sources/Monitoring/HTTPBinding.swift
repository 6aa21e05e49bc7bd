/// What the option `--http` says.
public enum HTTPBinding: Sendable, Equatable {
    case off
    case at(HTTPAddress)

    /// Where the coordinator serves if nobody says otherwise: to this machine alone.
    public static let coordinatorAddress = HTTPAddress(host: "127.0.0.1", port: 7480)

    /// Returns nil if `text` is neither `off` nor an address and a port.
    public init?(_ text: String) {
        if text == "off" {
            self = .off
        } else if let address = HTTPAddress(text) {
            self = .at(address)
        } else {
            return nil
        }
    }

    /// What is wrong with the text of an option, nil if nothing is.
    public static func problem(of text: String) -> String? {
        if text == "off" { return nil }
        do { _ = try HTTPAddress(parsing: text) } catch {
            return "--http \(error); ADDRESS:PORT is wanted, such as 127.0.0.1:7480, [::1]:0 or *:7480, or off"
        }
        return nil
    }
}
