internal import CKernels
internal import Model
internal import Tensors

/// Target logits [n] and numerators [n, D] of a rank, collected from the shards that own the classes.
final class Targets: @unchecked Sendable {
    let logits: Tensor
    let numerators: Tensor
    private var found: [Bool]

    init(samples: Int, size: Int) {
        logits = Tensor(zeros: Float.self, shape: [samples])
        numerators = Tensor(zeros: Float.self, shape: [samples, size])
        found = Array(repeating: false, count: samples)
    }

    /// Takes one shard's entries. `first` is the place of the rank's first sample in the batch.
    func take(_ samples: Tensor, _ logit: Tensor, _ numerator: Tensor, first: Int, from sender: String)
        throws(HeadError)
    {
        guard samples.shape.count == 1, samples.shape[0] <= found.count else {
            throw HeadError(.malformed, "\(sender) sent targets of shape \(samples.shape) for \(found.count) samples")
        }
        let (count, size) = (samples.shape[0], numerators.shape[1])
        try Payload.check(samples, "target samples", .i32, [count], from: sender)
        try Payload.check(logit, "target logit", .f32, [count], from: sender)
        try Payload.check(numerator, "target numerator", .f32, [count, size], from: sender)
        for index in 0..<count {
            let sample = Int(samples.buffer(Int32.self)[index])
            guard found.indices.contains(sample), !found[sample] else {
                throw HeadError(
                    .malformed,
                    "\(sender) sent a target for sample \(sample) of the rank's \(found.count), which is not one of them or came twice"
                )
            }
            let row = numerator.pointer(Float.self) + index * size
            guard logit.buffer(Float.self)[index].isFinite, pfc_head_first_nonfinite(row, size) < 0 else {
                throw HeadError(
                    .notFinite, "the target of sample \(first + sample) of the batch from \(sender) is not finite")
            }
            found[sample] = true
            logits.mutable(Float.self)[sample] = logit.buffer(Float.self)[index]
            (numerators.pointer(Float.self) + sample * size).update(from: row, count: size)
        }
    }

    /// Checks that every sample has its target.
    func checkComplete(labels: [Int64], first: Int) throws(HeadError) {
        if let sample = found.firstIndex(of: false) {
            throw HeadError(
                .malformed,
                "no shard sent the target of sample \(first + sample) of the batch, class \(labels[sample])")
        }
    }
}
