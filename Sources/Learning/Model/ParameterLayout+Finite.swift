internal import CKernels
public import Tensors

extension ParameterLayout {
    /// The first segment with an infinity or a NaN in a flat vector, or nil. Frozen ones are not looked at.
    ///
    /// - Parameter vector: f32 with P elements.
    public func firstNotFinite(in vector: Tensor) -> Segment? {
        precondition(vector.dtype == .f32 && vector.count == count, "a vector of \(vector.count) for \(count) elements")
        return vector.withPointer(Float.self) { values in
            guard let start = values.baseAddress else { return nil }
            return segments.first {
                $0.kind != .frozen && pfc_all_finite(start + $0.range.lowerBound, $0.range.count) == 0
            }
        }
    }
}
