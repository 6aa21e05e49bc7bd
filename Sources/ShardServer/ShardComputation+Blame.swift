import StepProtocol
import Tensors

/// Whose input made a computation refuse what is not finite: asked for only when one has.
extension ShardComputation<[Tensor]> {
    /// The ranks that sent what is not finite; empty if it is none of them or all, which then share a cause.
    var ranksNotFinite: [Int] {
        let parts: [[Tensor]] =
            switch self {
            case .backward(let forward, let backward): zip(forward, backward).map { $0.flatMap(\.self) + $1 }
            case .dense(let pushed): pushed
            case .sample, .forward, .update, .parameters, .rollback, .commit, .task, .own: []
            }
        let found = parts.indices.filter { rank in parts[rank].contains { !$0.isFinite } }
        return found.count < parts.count ? found : []
    }
}

extension Tensor {
    /// Whether every number is finite; of whole numbers that is so.
    fileprivate var isFinite: Bool {
        switch dtype {
        case .f32: buffer(Float.self).allSatisfy(\.isFinite)
        case .f64: buffer(Double.self).allSatisfy(\.isFinite)
        case .bf16: buffer(UInt16.self).allSatisfy { $0 & 0x7F80 != 0x7F80 }
        default: true
        }
    }
}
