public import Cluster

extension Refusal {
    /// The refusal that tells a peer of an error of the arithmetic or the data.
    public init(_ error: any Error) {
        switch error {
        case let error as Refusal: self = error
        case let error as HeadError: self.init(error.code.refusal, error.message)
        case let error as BackboneError: self.init(error.code.refusal, error.message)
        default: self.init(.internalError, "\(error)")
        }
    }
}

extension HeadError.Code {
    var refusal: RefusalCode {
        switch self {
        case .malformed: .malformed
        case .labelOutOfRange: .labelOutOfRange
        case .notFinite: .notFinite
        case .configuration, .centers, .phase: .internalError
        }
    }
}

extension BackboneError.Code {
    var refusal: RefusalCode {
        switch self {
        case .nonFinite: .notFinite
        case .invalidPayload: .malformed
        case .invalidConfiguration, .invalidInput, .wrongPhase, .oneDNN, .file: .internalError
        }
    }
}
