public import Logging
public import StepProtocol

extension EventLevel {
    /// The level of the log that a line of this importance belongs to.
    public var logLevel: Logger.Level {
        switch self {
        case .info: .info
        case .warning: .warning
        case .error: .error
        }
    }
}
