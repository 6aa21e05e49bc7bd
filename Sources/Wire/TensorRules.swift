import Tensors

/// What is true of the tensors of every message.
enum TensorRules {
    /// The bytes of a tensor.
    ///
    /// - Throws: `WireError` for more than 8 axes or a size that no frame can have.
    static func byteCount(dtype: DType, shape: [Int]) throws -> Int {
        _ = try Field.count(shape.count, "axes of a tensor", limit: Bound.axes)
        guard let bytes = TensorSize.product(shape, size: dtype.size, limit: Bound.number) else {
            throw WireError(.tensor, "a tensor of shape \(shape) is too large")
        }
        return bytes
    }

    /// Number, types and axes of a message's tensors. The step protocol checks its payloads itself: they depend on the phase.
    static func check(_ tensors: [(dtype: DType, shape: [Int])], of message: WireMessage) throws {
        switch message {
        case .stepRequest, .stepReply, .transferReply:
            _ = try Field.count(tensors.count, "tensors", limit: Bound.tensors)
        case .readRows:
            guard tensors.count == 1, tensors[0].dtype == .i64, tensors[0].shape.count == 1 else {
                throw WireError(.tensor, "read_rows needs one tensor i64 [n], not \(describe(tensors))")
            }
        case .rows:
            guard tensors.count == 3, tensors[..<2].allSatisfy({ $0.dtype == .f32 && $0.shape.count == 2 }),
                tensors[0].shape == tensors[1].shape, tensors[2].dtype == .i64,
                tensors[2].shape == [tensors[0].shape[0], 2]
            else {
                throw WireError(
                    .tensor, "rows needs two tensors f32 [n, D] and one i64 [n, 2], not \(describe(tensors))")
            }
        default:
            guard tensors.isEmpty else {
                throw WireError(.tensor, "\(message.name) has no tensors, but \(tensors.count) came with it")
            }
        }
    }

    private static func describe(_ tensors: [(dtype: DType, shape: [Int])]) -> String {
        tensors.isEmpty ? "none" : tensors.map { "\($0.dtype) \($0.shape)" }.joined(separator: ", ")
    }
}
