/// The commands that a coordinator knows.
public enum OperatorCommandName: String, Sendable, CaseIterable {
    case status, history, slices, events, pause, resume, stop, set, checkpoint, checkpoints, restore, drain, undrain,
        rebalance, forget, classes, cancel
    /// Of the coordinators among themselves: what is new, and which of them decides.
    case replicate, view
    /// To a standby: take over.
    case promote

    /// Whether coordinators ask each other.
    var isOfCoordinators: Bool { self == .replicate || self == .view }
}

extension OperatorRequest {
    /// Whether it may change anything; of an unknown command it is assumed.
    public var changes: Bool {
        switch OperatorCommandName(rawValue: command) {
        case .status, .history, .slices, .events, .checkpoints, .view: false
        case .classes: arguments["action"] != "list"
        case .rebalance: arguments["dry_run"] != "true"
        case .pause, .resume, .stop, .set, .checkpoint, .restore, .drain, .undrain, .forget, .cancel, .replicate,
            .promote, nil:
            true
        }
    }
}
