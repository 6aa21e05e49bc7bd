/// The commands that a coordinator knows.
public enum OperatorCommandName: String, Sendable, CaseIterable {
    case status, slices, events, pause, resume, stop, checkpoint, checkpoints, restore, drain, undrain, rebalance,
        forget
    case classes
}

extension OperatorRequest {
    /// Whether it may change anything; of an unknown command it is assumed.
    public var changes: Bool {
        switch OperatorCommandName(rawValue: command) {
        case .status, .slices, .events, .checkpoints: false
        case .classes: arguments["action"] != "list"
        case .rebalance: arguments["dry_run"] != "true"
        case .pause, .resume, .stop, .checkpoint, .restore, .drain, .undrain, .forget, nil: true
        }
    }
}
