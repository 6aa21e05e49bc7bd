internal import Foundation

/// Why HTTP cannot be served.
public struct HTTPServerError: Error, CustomStringConvertible {
    public var address: HTTPAddress
    /// The system's error number, 0 if the address has none.
    public var code: Int32
    public var problem: String

    init(_ address: HTTPAddress, code: Int32) {
        self.address = address
        self.code = code
        problem = String(cString: strerror(code))
    }

    init(_ address: HTTPAddress, _ problem: String) {
        self.address = address
        code = 0
        self.problem = problem
    }

    /// Whether another process listens there.
    public var isTaken: Bool { code == EADDRINUSE }

    public var description: String { "HTTP cannot be served at \(address): \(problem)" }
}
