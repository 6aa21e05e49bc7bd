/// Why a backbone could not be built, run, updated, read or written.
public struct BackboneError: Error, CustomStringConvertible, Sendable {
    /// What kind of thing went wrong.
    public enum Code: String, Sendable {
        case invalidConfiguration
        case invalidInput
        case invalidPayload
        case nonFinite
        case wrongPhase
        case oneDNN
        case file
    }

    public var code: Code
    /// What was wrong, where, and what to do about it.
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { "backbone (\(code.rawValue)): \(message)" }
}
